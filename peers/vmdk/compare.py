"""Reads a disk with libvmdk and compares it with a file that holds its bytes: `compare.py DISK RAW`."""

import sys

import pyvmdk

PIECE = 1 << 20


def main():
    disk_path, raw_path = sys.argv[1:]
    disk = pyvmdk.handle()
    disk.open(disk_path)
    disk.open_extent_data_files()
    size = disk.get_media_size()
    with open(raw_path, "rb") as raw:
        for offset in range(0, size, PIECE):
            length = min(PIECE, size - offset)
            if disk.read_buffer_at_offset(length, offset) != raw.read(length):
                sys.exit(f"{disk_path} has other bytes than {raw_path} from {offset} on")
        if raw.read(1):
            sys.exit(f"{raw_path} is longer than {disk_path}, which has {size} bytes")
    print(f"libvmdk reads {size} bytes of {disk_path} alike")


if __name__ == "__main__":
    main()
