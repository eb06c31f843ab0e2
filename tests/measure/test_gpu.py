"""Claims about time and memory on a GPU; those that need one are skipped where there is none."""

from __future__ import annotations

import pytest

from harness.measure import gpu

needs_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not gpu.available(), reason="no CUDA device is visible to torch"),
]
without_gpu = pytest.mark.skipif(gpu.available(), reason="claims about a machine without a CUDA device")


@without_gpu
def test_without_a_device_every_reader_says_so_and_nothing_raises() -> None:
    assert gpu.device_name() is None
    assert gpu.memory() is None
    assert gpu.peak() is None
    assert gpu.reset_peak() is False
    gpu.synchronize()


@without_gpu
def test_without_a_device_a_timer_says_what_to_do() -> None:
    with pytest.raises(RuntimeError, match="--device cpu"):
        gpu.EventTimer()


def test_the_drivers_table_is_summed_over_devices_for_one_process() -> None:
    table = "12, 100\n345, 7\n12, 50\n"
    assert gpu.parse_compute_apps(table, 12) == 150 << 20


@pytest.mark.parametrize("table", ["", "12, [N/A]\n", "No running processes found\n", "123, 100\n"])
def test_a_process_the_driver_does_not_show_is_unknown_and_not_zero(table: str) -> None:
    assert gpu.parse_compute_apps(table, 12) is None


class TestOnDevice:
    pytestmark = needs_gpu

    def test_the_allocated_peak_counts_what_was_freed_and_is_reset(self) -> None:
        import torch

        gpu.reset_peak()
        base = gpu.memory()
        block = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
        del block
        used = gpu.memory()
        assert base is not None
        assert used is not None
        assert used.allocated_peak_bytes - base.allocated_peak_bytes >= 256 << 20
        assert used.reserved_peak_bytes >= used.allocated_peak_bytes
        gpu.reset_peak()
        after = gpu.memory()
        assert after is not None
        assert after.allocated_peak_bytes < used.allocated_peak_bytes

    def test_an_event_timer_sees_the_work_that_the_host_clock_does_not_wait_for(self) -> None:
        import torch

        matrix = torch.rand(4096, 4096, device="cuda")
        (matrix @ matrix).sum().item()
        timer = gpu.EventTimer()
        for repeats in (1, 20):
            timer.start()
            for _ in range(repeats):
                matrix @ matrix
            timer.stop()
        once, twenty_times = timer.finish()
        assert 0 < once < twenty_times
        assert timer.finish() == []

    def test_the_device_has_a_name(self) -> None:
        assert gpu.device_name()
