"""Makes the wheel of this package: an archive of its files, and of what is said of them."""

from zipfile import ZipFile

ABOUT = "landmarks-1.0.0.dist-info"

with ZipFile("landmarks-1.0.0-py3-none-any.whl", "w") as wheel:
    wheel.write("landmarks/__init__.py")
    wheel.writestr(f"{ABOUT}/METADATA", "Metadata-Version: 2.1\nName: landmarks\nVersion: 1.0.0\n")
    wheel.writestr(f"{ABOUT}/WHEEL", "Wheel-Version: 1.0\nGenerator: wheel.py\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr(f"{ABOUT}/RECORD", f"landmarks/__init__.py,,\n{ABOUT}/METADATA,,\n{ABOUT}/WHEEL,,\n{ABOUT}/RECORD,,\n")
