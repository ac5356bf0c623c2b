"""What is fast here: one thread or two while other programs share the machine, and bfloat16 where a processor has it.

A two-threaded operation waits for its slower half, so on a busy machine one thread can be the faster choice. Every
minute both are timed for a few steps and the better one is kept.
"""

from __future__ import annotations

import os
import time

import torch


def mixed(device: torch.device) -> torch.autocast:
    """bfloat16 where it is fast: a processor with no more than AVX2 takes ten times as long as in float32."""
    fast = device.type != "cpu" or torch.backends.cpu.get_cpu_capability() == "AVX512"
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


class Pace:
    def __init__(self, most: int | None = None, every: float = 60.0, trial: int = 3) -> None:
        most = most or os.cpu_count() or 1
        self.choices = sorted({max(1, most // 2), most})
        self.every, self.trial = every, trial
        self.times: dict[int, list[float]] = {}
        self.next = time.time()
        self.started = time.time()

    def step(self) -> None:
        """Call before every training step."""
        if len(self.choices) == 1:
            return
        now = time.time()
        spent, self.started = now - self.started, now
        threads = torch.get_num_threads()
        if self.times:
            self.times[threads].append(spent)
            if len(self.times[threads]) <= self.trial:
                return
            waiting = [c for c in self.choices if c not in self.times]
            if waiting:
                self.begin(waiting[0])
                return
            # the first step after a change pays for the change
            best = min(self.choices, key=lambda c: sum(self.times[c][1:]))
            torch.set_num_threads(best)
            self.times, self.next = {}, now + self.every
        elif now > self.next:
            self.begin(self.choices[0])

    def begin(self, threads: int) -> None:
        torch.set_num_threads(threads)
        self.times[threads] = []
