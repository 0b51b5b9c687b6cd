"""The code of Lambda functions, as they are deployed: a zip with a bootstrap."""

import io
import pathlib
import subprocess
import tempfile
import zipfile

from processes import BINARIES


def code(program="queuebridge-demo"):
    """A zip with this program, without its debugging information."""
    with tempfile.TemporaryDirectory() as folder:
        stripped = pathlib.Path(folder, "bootstrap")
        subprocess.run(["strip", "-o", stripped, BINARIES / program], check=True)
        binary = stripped.read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        info = zipfile.ZipInfo("bootstrap")
        info.external_attr = 0o755 << 16
        archive.writestr(info, binary)
    return packed.getvalue()
