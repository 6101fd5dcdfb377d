"""A pytest plugin for CI, where everything a tier needs is installed: a skipped test fails the run."""

from __future__ import annotations

import pytest

_skipped: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember a test that was skipped (an expected failure is none)."""
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Remember a whole module that was skipped."""
    if report.skipped:
        _skipped.append(report.nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Take over the skipped modules of a worker of pytest-xdist, which reports only tests."""
    output = getattr(node, "workeroutput", {})
    _skipped.extend(name for name in output.get("skipped", ()) if name not in _skipped)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a run with skipped tests into a failed one."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["skipped"] = _skipped
    elif _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the skipped tests, which explain the exit code."""
    for test in _skipped:
        terminalreporter.write_line(f"no_skips: was skipped, and must not be skipped in CI: {test}", red=True)
