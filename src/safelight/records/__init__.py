"""The nouns of Safelight: accounts, keys, jobs, assets, requests, receipts. Standard library only; every room may use them.

State machines (every arrow is one guarded UPDATE in ``storage``):
    job    queued -> running(attempt, fence) -> succeeded | failed | cancelled
    asset  pending -> live -> deleting -> gone, and pending -> deleting
"""

from safelight.records.accounts import Account, Key, Limits
from safelight.records.assets import FURTHER, TEMP_SECONDS, Asset, AssetKind, AssetState, Bitmap, shortest
from safelight.records.edits import (
    CAPTION_LENGTHS,
    CaptionRequest,
    CutOutRequest,
    InstallRequest,
    JudgeRequest,
    OneStepRequest,
    UpscaleRequest,
)
from safelight.records.house import HeldCheckpoint, QueueLoad, Receipt, Statistics, Wish, WorkerPulse
from safelight.records.jobs import Job, JobState, Standing
from safelight.records.requests import (
    FROM_NOISE,
    ControlUse,
    Draft,
    ImageRequest,
    JobRequest,
    MixUse,
    Operation,
    Task,
    Wants,
)

__all__ = [
    "CAPTION_LENGTHS", "FROM_NOISE", "FURTHER", "TEMP_SECONDS", "Account", "Asset", "AssetKind", "AssetState", "Bitmap",
    "CaptionRequest", "ControlUse", "CutOutRequest", "Draft", "HeldCheckpoint", "ImageRequest", "InstallRequest", "Job",
    "JobRequest", "JobState", "JudgeRequest", "Key", "Limits", "MixUse", "OneStepRequest", "Operation", "QueueLoad", "Receipt",
    "Standing", "Statistics", "Task", "UpscaleRequest", "Wants", "Wish", "WorkerPulse", "shortest",
]  # fmt: skip
