from __future__ import annotations

import golden


def pytest_report_header() -> str:
    return f"parity data: set '{golden.manifest().get('set')}' of {golden.DATA}"
