"""What the product does, in one value: the composition root makes it and every dialect is given it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from safelight.service.accounts import Accounts
from safelight.service.additions import Additions
from safelight.service.assets import Assets
from safelight.service.catalogue import Catalogue
from safelight.service.chat import Chat
from safelight.service.erasure import Erasure
from safelight.service.examination import Examination
from safelight.service.following import Following
from safelight.service.history import History
from safelight.service.inputs import Inputs
from safelight.service.jobs import Jobs
from safelight.service.ledger import Ledger
from safelight.service.models import Models
from safelight.service.outbox import Outbox
from safelight.service.overview import Overview
from safelight.service.preferences import Preferences
from safelight.service.rates import Rates
from safelight.service.retention import Retention
from safelight.service.sessions import Sessions
from safelight.service.shop import Shop
from safelight.service.steering import Steering
from safelight.service.unstored import Unstored
from safelight.service.usage import Usage
from safelight.service.wishes import Wishes
from safelight.settings import Settings


@dataclass(frozen=True)
class Services:
    """One door for each noun."""

    settings: Settings
    accounts: Accounts
    additions: Additions
    inputs: Inputs
    jobs: Jobs
    assets: Assets
    erasure: Erasure
    retention: Retention
    unstored: Unstored
    catalogue: Catalogue
    models: Models
    chat: Chat
    history: History
    following: Following
    ledger: Ledger
    shop: Shop
    rates: Rates
    usage: Usage
    examination: Examination
    preferences: Preferences
    outbox: Outbox
    overview: Overview
    sessions: Sessions
    steering: Steering
    wishes: Wishes
    enhance: Callable[[str], str]  # a better prompt from a prompt; the engine room's, handed in because it is pure
