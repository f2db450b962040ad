#!/usr/bin/env python3
"""Makes a tree of awkward files, and compares two trees: names, contents, metadata.

  tree.py make FOLDER [--unix] [--few-attributes] [--many N]      --unix: owners, modes, links, attributes, holes
  tree.py compare WANTED GOT [--unix] [--no-xattrs] [--tick N] [--holes] [--only NAME]

The tick is how coarse the times are, in nanoseconds.
"""

import argparse
import hashlib
import os
import random
import stat
import sys

NAMES = ["äöü", "日本語のファイル", "Ελληνικά", "emoji 🦀 file", "combining e\u0301", "trailing.dots.txt", "с пробелами и точками.docx"]


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def make(root, unix, attributes_of_many, count):
    rng = random.Random(20261127)
    os.makedirs(root)
    many = f"{root}/many"
    os.mkdir(many)
    for number in range(count):
        size = rng.choice([0, 1, 17, 511, 512, 513, 700, 1500, 4096, 5000])
        write(f"{many}/file-{number:05d}-with-a-name-of-some-length.dat", rng.randbytes(size))
    deep = root
    for level in range(40):
        deep += f"/level-{level:02d}"
        os.mkdir(deep)
        write(f"{deep}/here", f"{level}".encode())
    long = f"{root}/long"
    os.mkdir(long)
    write(f"{long}/{'n' * 200}", b"long")
    write(f"{long}/{'ü' * 100}.txt", b"long and not ASCII")
    names = f"{root}/names"
    os.mkdir(names)
    # mtools cuts characters of more than 16 bits.
    for name in NAMES if unix else [name for name in NAMES if max(name) <= "\uffff"]:
        write(f"{names}/{name}", name.encode())
        os.mkdir(f"{names}/folder {name}")
    sizes = f"{root}/sizes"
    os.mkdir(sizes)
    for size in [0, 1, 59, 60, 61, 155, 156, 1023, 1024, 1025, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20, 6 << 20]:
        write(f"{sizes}/{size}", rng.randbytes(size))
    write(f"{root}/large", rng.randbytes(12 << 20))
    write(f"{root}/text", b"the quick brown fox jumps over the lazy dog\n" * 60000)
    write(f"{root}/zeros", bytes(3 << 20))
    if unix:
        write(f"{long}/{'n' * 255}", b"longest")
        sparse = f"{root}/sparse"
        with open(sparse, "wb") as file:
            for at in [0, 1 << 20, 1 << 30, (4 << 30) - 8192]:
                file.seek(at)
                file.write(rng.randbytes(8192))
            file.truncate((4 << 30) + 12345)
        with open(f"{root}/only-a-hole", "wb") as file:
            file.truncate(100 << 20)
        with open(f"{root}/combed", "wb") as file:
            for piece in range(400):
                file.seek(piece * 24576)
                file.write(rng.randbytes(4096))
        links = f"{root}/links"
        os.mkdir(links)
        write(f"{links}/one", b"one file of three names")
        os.link(f"{links}/one", f"{links}/two")
        os.link(f"{links}/one", f"{root}/three")
        os.symlink("one", f"{links}/short")
        os.symlink("../" + "x" * 300, f"{links}/slow")
        os.symlink("y" * 59, f"{links}/59")
        os.symlink("y" * 60, f"{links}/60")
        os.symlink("../../../../../../etc/passwd", f"{links}/out")
        os.mkfifo(f"{links}/fifo")
        modes = f"{root}/modes"
        os.mkdir(modes)
        for mode in [0o000, 0o400, 0o644, 0o755, 0o4755, 0o2755, 0o1777]:
            write(f"{modes}/{mode:04o}", b"x")
            os.chown(f"{modes}/{mode:04o}", 1000 + mode, 100000 + mode)
            os.chmod(f"{modes}/{mode:04o}", mode)
        attributes = f"{root}/attributes"
        os.mkdir(attributes)
        write(f"{attributes}/few", b"x")
        os.setxattr(f"{attributes}/few", "user.comment", "größe".encode())
        os.setxattr(f"{attributes}/few", "user.empty", b"")
        os.setxattr(f"{attributes}/few", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
        write(f"{attributes}/many", b"x")
        for number in range(attributes_of_many):
            os.setxattr(f"{attributes}/many", f"user.number-{number}", rng.randbytes(200))
        os.setxattr(attributes, "user.folder", b"of a folder")
        # rw for its owner, r for user 1234, nothing for others.
        acl = bytes.fromhex("02000000" "01000600ffffffff" "02000400d2040000" "04000400ffffffff" "10000400ffffffff" "20000000ffffffff")
        write(f"{attributes}/acl", b"x")
        os.setxattr(f"{attributes}/acl", "system.posix_acl_access", acl)
        os.setxattr(attributes, "system.posix_acl_default", acl)
    times = [1, 86400 * 365 * 12, 1_700_000_000, 2_140_000_000]
    if unix:
        times.append(-86400 * 3650)
    os.mkdir(f"{root}/times")
    for number, seconds in enumerate(times):
        write(f"{root}/times/{number}", b"t")
    for folder, folders, files in os.walk(root, topdown=False):
        for name in files + folders:
            at = rng.randrange(1_000_000_000, 1_700_000_000)
            path = f"{folder}/{name}"
            os.utime(path, ns=(at * 10**9 + 5, at * 10**9 + 123_456_789), follow_symlinks=False)
        if folder.endswith("/times"):
            for number, seconds in enumerate(times):
                if seconds >= 315532800 or unix:
                    os.utime(f"{folder}/{number}", (seconds, seconds))


def describe(path, root, options):
    info = os.lstat(path)
    kind = stat.S_IFMT(info.st_mode)
    found = {"kind": oct(kind)}
    if kind == stat.S_IFREG:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            at = 0
            # Holes need not be read to be known.
            while at < size:
                try:
                    data = os.lseek(file.fileno(), at, os.SEEK_DATA)
                except OSError:
                    data = size
                if data >= size:
                    break
                # Whole blocks, so that it does not matter how much of one is a hole.
                at = max(at, data >> 20 << 20)
                file.seek(at)
                piece = file.read(1 << 20)
                if piece.strip(b"\0"):
                    digest.update(f"{at}:".encode() + piece)
                at += 1 << 20
            digest.update(f"{size}".encode())
        found["content"] = digest.hexdigest()
        found["size"] = size
        if options.holes and size >= 16 << 20:
            # The pieces of a file system differ, so it is enough that holes were not filled.
            found["sparse"] = info.st_blocks * 512 < size // 2
    if kind == stat.S_IFLNK:
        found["target"] = os.readlink(path)
    if kind != stat.S_IFLNK and path != root:
        found["time"] = info.st_mtime_ns // options.tick
        if options.unix:
            found["time of access"] = info.st_atime_ns // options.tick
    if options.unix:
        found["mode"] = oct(info.st_mode)
        found["owner"] = (info.st_uid, info.st_gid)
        if kind == stat.S_IFREG:
            found["names"] = info.st_nlink
        if not options.no_xattrs and kind != stat.S_IFLNK:
            names = [name for name in os.listxattr(path) if name not in ("security.selinux", "trusted.SGI_ACL_FILE", "trusted.SGI_ACL_DEFAULT")]
            found["attributes"] = {name: os.getxattr(path, name).hex() for name in sorted(names)}
    return found


def tree(root, options):
    found = {}
    if not options.skip_root:
        found["."] = describe(root, root, options)
    for folder, folders, files in os.walk(root):
        if "lost+found" in folders and folder == root:
            folders.remove("lost+found")
        for name in folders + files:
            path = os.path.join(folder, name)
            if stat.S_ISFIFO(os.lstat(path).st_mode):
                continue
            relative = os.path.relpath(path, root)
            found[relative] = describe(path, root, options)
            # A folder's time tells when it was filled, unless its format was told otherwise.
            if os.path.isdir(path) and options.no_folder_times:
                found[relative].pop("time", None)
                found[relative].pop("time of access", None)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["make", "compare"])
    parser.add_argument("folders", nargs="+")
    for flag in ["unix", "no-xattrs", "holes", "skip-root", "no-folder-times", "no-times", "no-access-times", "no-names", "few-attributes"]:
        parser.add_argument(f"--{flag}", action="store_true")
    parser.add_argument("--tick", type=int, default=1)
    parser.add_argument("--many", type=int, default=3000)
    options = parser.parse_args()
    if options.what == "make":
        make(options.folders[0], options.unix, 3 if options.few_attributes else 12, options.many)
        return
    wanted, got = (tree(folder, options) for folder in options.folders)
    for one in (wanted, got):
        for entry in one.values():
            if options.no_times:
                entry.pop("time", None)
            if options.no_times or options.no_access_times:
                entry.pop("time of access", None)
            if options.no_names:
                entry.pop("names", None)
    problems = []
    for path in sorted(wanted.keys() | got.keys()):
        if path not in got:
            problems.append(f"missing: {path}")
        elif path not in wanted:
            problems.append(f"not in the original: {path}")
        elif wanted[path] != got[path]:
            differ = {key: (wanted[path].get(key), got[path].get(key)) for key in wanted[path] | got[path] if wanted[path].get(key) != got[path].get(key)}
            problems.append(f"differs: {path}: {differ}")
    for problem in problems[:6]:
        print(problem)
    print(f"{len(wanted)} entries compared, {len(problems)} differ")
    if problems or len(wanted) < options.many:
        sys.exit(1)


main()
