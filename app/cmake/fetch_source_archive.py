#!/usr/bin/env python3
"""Downloads one pinned source archive from the package index into a folder; nothing is built or installed.

    fetch_source_archive.py PROJECT VERSION SHA256 FOLDER

pip asks an archive's build backend for its metadata before it hands the archive over, and would first install that backend (a minute). A
stand-in backend that answers with the pinned name and version makes it seconds. pip checks the hash before it opens the archive; we check
again before the file gets its final name. Where the stand-in does not work (another pip), plain `pip download` is tried.
"""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

STAND_IN = '''
import pathlib
def get_requires_for_build_wheel(config_settings=None):
    return []
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = pathlib.Path(folder, "{stem}.dist-info")
    info.mkdir()
    info.joinpath("METADATA").write_text("Metadata-Version: 2.1\\nName: {project}\\nVersion: {version}\\n")
    return info.name
def build_wheel(folder, config_settings=None, metadata_folder=None):
    raise RuntimeError("only the sources are wanted")
'''


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def download(project, version, sha256, scratch):
    """The folder pip wrote to, or None."""
    stem = f"{project.replace('-', '_')}-{version}"
    backend = scratch / "stand-in" / "scikit_build_core"
    backend.mkdir(parents=True)
    (backend / "__init__.py").touch()
    (backend / "build.py").write_text(STAND_IN.format(stem=stem, project=project, version=version))
    requirements = scratch / "requirements.txt"
    requirements.write_text(f"{project}=={version} --hash=sha256:{sha256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary=:all:",
           "--require-hashes", "-r", str(requirements)]
    attempts = [(["--no-build-isolation"], dict(os.environ, PYTHONPATH=str(backend.parent))), ([], dict(os.environ))]
    for number, (extra, environment) in enumerate(attempts):
        folder = scratch / f"download-{number}"
        if subprocess.run(pip + extra + ["-d", str(folder)], env=environment).returncode == 0:
            return folder
    return None


def main():
    project, version, sha256, folder = sys.argv[1:5]
    name = f"{project.replace('-', '_')}-{version}.tar.gz"
    destination = pathlib.Path(folder, name)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        found = download(project, version, sha256, pathlib.Path(scratch))
        archive = found / name if found else None
        if archive is None or not archive.exists():
            print(f"pip could not download {name}", file=sys.stderr)
            return 1
        if sha256_of(archive) != sha256:
            print(f"{name} does not have the pinned SHA-256", file=sys.stderr)
            return 1
        # A name of our own and a rename: two configure runs at once never see half a file.
        partial = destination.with_name(f"{name}.{os.getpid()}.part")
        shutil.copyfile(archive, partial)
        os.replace(partial, destination)
    return 0


if __name__ == "__main__":
    sys.exit(main())
