"""Builds the wheel that brings the server, too: `make dist` names the binary and the platform.

Without these variables, as in `pip install ./clients/python`, the wheel is the client alone.
"""

import os
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BINARY = "KENNING_WHEEL_BINARY"
PLATFORM = "KENNING_WHEEL_PLATFORM"
NOTICES = "KENNING_WHEEL_NOTICES"


class ServerBinary(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        binary = os.environ.get(BINARY)
        if not binary or version == "editable":
            return
        if not os.access(binary, os.X_OK):
            raise FileNotFoundError(f"{BINARY}={binary} is no program")
        platform = os.environ.get(PLATFORM)
        if not platform:
            raise ValueError(f"{BINARY} needs {PLATFORM}, such as manylinux_2_28_x86_64")
        build_data["pure_python"] = False
        # Any Python 3: nothing is linked against it.
        build_data["tag"] = f"py3-none-{platform}"
        build_data["shared_scripts"][binary] = "kenning"
        # What the binary is made of has licences of its own.
        for notice in os.environ.get(NOTICES, "").split(os.pathsep):
            if notice:
                build_data["extra_metadata"][notice] = os.path.basename(notice)
