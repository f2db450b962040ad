"""Checks of files and disks from outside of machines: datastores, their browser, /folder, leases, OVF."""

import hashlib
import os
import secrets
import tempfile
import time

from pyVim.task import WaitForTask
from pyVmomi import vim

from peer import (MIB, changed_areas, check, create, disks_of, files_below, folder_of, new_machine_spec, qemu_img, sha256_of, snapshot)
from simulator import expect, expect_fault

STREAM = "application/x-vnd.vmware-streamVmdk"


@check
def browse(peer):
    machine = peer.machine()
    datastore, folder = machine.datastore[0], folder_of(machine)
    found = files_below(datastore, folder)
    name = machine.config.files.vmPathName.rsplit("/", 1)[1]
    expect(name in found and found[name].fileSize > 0 and found[name].modification, f"{sorted(found)}")
    flags = vim.host.DatastoreBrowser.VmDiskQuery.Details(diskType=True, capacityKb=True, hardwareVersion=True, thin=True)
    Query = vim.host.DatastoreBrowser
    spec = Query.SearchSpec(query=[Query.VmDiskQuery(details=flags)], matchPattern=["*.vmdk"],
                            details=Query.FileInfo.Details(fileSize=True, fileType=True, fileOwner=True, modification=True))
    task = datastore.browser.SearchDatastoreSubFolders_Task(f"[{datastore.name}] {folder}", spec)
    WaitForTask(task)
    disks = [file for result in task.info.result for file in result.file]
    expect(len(disks) == 2 and all(isinstance(disk, Query.VmDiskInfo) for disk in disks), f"{disks}")
    sizes = sorted(disk.capacityInKB for disk in disks_of(machine).values())
    expect(sorted(disk.capacityKb for disk in disks) == sizes, f"{disks}")
    # Extents are no files of their own to the browser, when it is asked for disks.
    expect(not any("-flat" in disk.path or "-ctk" in disk.path for disk in disks), f"{[disk.path for disk in disks]}")
    expect_fault(vim.fault.FileNotFound, lambda: files_below(datastore, "no such folder"))


@check
def folder_with_a_quoted_cookie(peer):
    """The way of VMware's community samples: the cookie's value is what stands between the quotes."""
    datacenter, _, _, datastore = peer.place_of(peer.all_of(vim.VirtualMachine)[0])
    cookie = "vmware_soap_session=" + peer.service._stub.cookie.split('"')[1]
    url = peer.file_url(datacenter, datastore, "of the sample.bin")
    content = os.urandom(MIB + 17)
    status, _, _ = peer.request("PUT", url, content, Cookie=cookie, Content_Type="application/octet-stream")
    expect(status in (200, 201), f"PUT answered {status}")
    status, headers, back = peer.request("GET", url, Cookie=cookie)
    expect(status == 200 and back == content, f"GET answered {status} with {len(back)} bytes")
    expect(headers["Content-Length"] == str(len(content)), f"{headers}")
    size = files_below(datastore, "")["of the sample.bin"].fileSize
    expect(size == len(content), f"the browser sees {size} bytes")


@check
def folder_with_the_other_sample_cookie(peer):
    """The other sample sends the quotes, and the path as if it were a cookie too."""
    datacenter, _, _, datastore = peer.place_of(peer.all_of(vim.VirtualMachine)[0])
    value = peer.service._stub.cookie.split("=", 1)[1].split(";", 1)[0]
    url = peer.file_url(datacenter, datastore, "of the other sample.bin")
    status, _, _ = peer.request("PUT", url, b"other", Cookie=f"vmware_soap_session= {value}; $Path=/")
    expect(status in (200, 201), f"PUT answered {status}")


@check
def folder_by_ranges(peer):
    datacenter, _, _, datastore = peer.place_of(peer.all_of(vim.VirtualMachine)[0])
    cookie, content = peer.service._stub.cookie.split(";")[0], os.urandom(1000)
    url = peer.file_url(datacenter, datastore, "ranges.bin")
    expect(peer.request("PUT", url, content, Cookie=cookie)[0] in (200, 201), "it can't be put there")
    status, headers, back = peer.request("GET", url, Cookie=cookie, Range="bytes=100-199")
    expect(status == 206 and back == content[100:200], f"{status}, {len(back)} bytes")
    expect(headers["Content-Range"] == "bytes 100-199/1000", f"{headers['Content-Range']}")
    status, _, back = peer.request("GET", url, Cookie=cookie, Range="bytes=-10")
    expect(status == 206 and back == content[-10:], f"{status}, {len(back)} bytes")
    expect(peer.request("GET", url, Cookie=cookie, Range="bytes=1000-")[0] == 416, "what lies beyond the end is answered")
    status, headers, _ = peer.request("HEAD", url, Cookie=cookie)
    expect(status == 200 and headers["Content-Length"] == "1000" and headers["Accept-Ranges"] == "bytes", f"{headers}")


@check
def folder_needs_a_session(peer):
    datacenter, _, _, datastore = peer.place_of(peer.all_of(vim.VirtualMachine)[0])
    url = peer.file_url(datacenter, datastore, "nothing.bin")
    status, headers, _ = peer.request("GET", url)
    expect(status == 401 and headers["WWW-Authenticate"], f"without a session {status} is answered")
    expect(peer.request("GET", url, Cookie="vmware_soap_session=nobody")[0] == 401, "a wrong session is let in")
    expect(peer.request("GET", url, Cookie=peer.service._stub.cookie.split(";")[0])[0] == 404, "what is not there is found")


@check
def folder_by_ticket(peer):
    """A ticket for one URL and one method, in the place of a session."""
    datacenter, _, _, datastore = peer.place_of(peer.all_of(vim.VirtualMachine)[0])
    url = peer.file_url(datacenter, datastore, "ticket.bin")
    request = vim.SessionManager.HttpServiceRequestSpec(method="httpPut", url=url)
    ticket = peer.content.sessionManager.AcquireGenericServiceTicket(request)
    cookie = f"vmware_cgi_ticket={ticket.id}"
    expect(peer.request("PUT", url, b"by ticket", Cookie=cookie)[0] in (200, 201), "the ticket is not taken")
    expect(peer.request("GET", url, Cookie=cookie)[0] == 401, "the ticket of one method is good for another")


@check
def folder_of_a_machine(peer):
    """What a machine says of its files is what is there; its configuration is text; qemu-img reads its disks, deltas too."""
    machine = peer.machine(on=True)
    peer.simulator.guest_write(machine, 2001, 3 * MIB, 2 * MIB, seed=13)
    snapshot(machine, "below")
    peer.simulator.guest_write(machine, 2001, 4 * MIB, 2 * MIB, seed=14)
    WaitForTask(machine.PowerOffVM_Task())
    datacenter, _, _, datastore = peer.place_of(machine)
    folder, cookie = folder_of(machine), peer.service._stub.cookie.split(";")[0]
    there = files_below(datastore, folder)
    layout = {file.key: file for file in machine.layoutEx.file}
    for file in layout.values():
        expect(file.name.rsplit("/", 1)[1] in there, f"{file.name} is not there")
    sizes = {key: [layout[part].type for link in disk.chain for part in link.fileKey]
             for key, disk in ((disk.key, disk) for disk in machine.layoutEx.disk)}
    expect(set(sizes) == {2000, 2001} and all("diskDescriptor" in kinds and "diskExtent" in kinds for kinds in sizes.values()),
           f"{sizes}")
    status, _, text = peer.request("GET", peer.file_url(datacenter, datastore, machine.config.files.vmPathName.split("] ")[1]),
                                   Cookie=cookie)
    expect(status == 200, f"the configuration answers {status}")
    lines = dict(line.split(" = ", 1) for line in text.decode().splitlines() if " = " in line)
    plain = machine.config.uuid.replace("-", "")
    held = lines["uuid.bios"].strip('"').replace(" ", "").replace("-", "")
    expect(held == plain, f"uuid.bios is {lines['uuid.bios']}, and config.uuid {machine.config.uuid}")
    expect(lines["scsi0:1.fileName"].strip('"') == disks_of(machine)[2001].backing.fileName.rsplit("/", 1)[1], f"{lines}")
    with tempfile.TemporaryDirectory() as scratch:
        chain = [disk for disk in machine.layoutEx.disk if disk.key == 2001][0].chain
        for key in (key for link in chain for key in link.fileKey):
            path = layout[key].name.split("] ")[1]
            status, _, content = peer.request("GET", peer.file_url(datacenter, datastore, path), Cookie=cookie)
            expect(status == 200, f"{path} answers {status}")
            with open(os.path.join(scratch, os.path.basename(path)), "wb") as file:
                file.write(content)
        top = os.path.join(scratch, disks_of(machine)[2001].backing.fileName.rsplit("/", 1)[1])
        raw = os.path.join(scratch, "raw")
        qemu_img("convert", "-f", "vmdk", "-O", "raw", top, raw)
        expect(sha256_of(raw) == peer.simulator.digest(machine, 2001), "qemu-img reads other bytes")


@check
def files(peer):
    datacenter, _, _, datastore = peer.place_of(peer.all_of(vim.VirtualMachine)[0])
    manager, path = peer.content.fileManager, f"[{datastore.name}] files/below"
    manager.MakeDirectory(path, datacenter, createParentDirectories=True)
    expect_fault(vim.fault.FileAlreadyExists, lambda: manager.MakeDirectory(path, datacenter))
    cookie = peer.service._stub.cookie.split(";")[0]
    url = peer.file_url(datacenter, datastore, "files/below/one.txt")
    expect(peer.request("PUT", url, b"one", Cookie=cookie)[0] in (200, 201), "it can't be put there")
    WaitForTask(manager.CopyDatastoreFile_Task(f"{path}/one.txt", datacenter, f"{path}/two.txt", datacenter, False))
    WaitForTask(manager.MoveDatastoreFile_Task(f"{path}/two.txt", datacenter, f"{path}/three.txt", datacenter, False))
    expect(sorted(files_below(datastore, "files/below")) == ["one.txt", "three.txt"], "other files are there")
    WaitForTask(manager.DeleteDatastoreFile_Task(f"[{datastore.name}] files", datacenter))
    expect_fault(vim.fault.FileNotFound, lambda: files_below(datastore, "files/below"))


@check
def disk_manager(peer):
    datacenter, _, _, datastore = peer.place_of(peer.all_of(vim.VirtualMachine)[0])
    manager = peer.content.virtualDiskManager
    first, second = f"[{datastore.name}] apart.vmdk", f"[{datastore.name}] apart too.vmdk"
    spec = vim.VirtualDiskManager.FileBackedVirtualDiskSpec(diskType="thin", adapterType="lsiLogic", capacityKb=16 * 1024)
    WaitForTask(manager.CreateVirtualDisk_Task(first, datacenter, spec))
    expect_fault(vim.fault.FileAlreadyExists, lambda: WaitForTask(manager.CreateVirtualDisk_Task(first, datacenter, spec)))
    expect(manager.QueryVirtualDiskUuid(first, datacenter), "the disk has no uuid")
    manager.SetVirtualDiskUuid(first, datacenter, "60 00 C2 93 7b a0 3a 03-9f 22 56 c5 29 93 b7 27")
    held = manager.QueryVirtualDiskUuid(first, datacenter).lower()
    expect(held == "60 00 c2 93 7b a0 3a 03-9f 22 56 c5 29 93 b7 27", f"its uuid is {held}")
    WaitForTask(manager.ExtendVirtualDisk_Task(first, datacenter, 32 * 1024, False))
    WaitForTask(manager.CopyVirtualDisk_Task(first, datacenter, second, datacenter))
    WaitForTask(manager.InflateVirtualDisk_Task(second, datacenter))
    WaitForTask(manager.MoveVirtualDisk_Task(second, datacenter, f"[{datastore.name}] moved.vmdk", datacenter))
    for path in (first, f"[{datastore.name}] moved.vmdk"):
        WaitForTask(manager.DeleteVirtualDisk_Task(path, datacenter))
    expect_fault(vim.fault.FileNotFound, lambda: manager.QueryVirtualDiskUuid(first, datacenter))


@check
def export(peer):
    machine = peer.machine()
    peer.simulator.guest_write(machine, 2001, 3 * MIB, 2 * MIB, seed=9, force=True)
    with tempfile.TemporaryDirectory() as folder:
        lease = wait_for_lease(machine.ExportVm())
        export_checked(peer, lease, machine, folder)


@check
def export_snapshot(peer):
    machine = peer.machine(on=True)
    peer.simulator.guest_write(machine, 2001, 3 * MIB, 2 * MIB, seed=10)
    taken = snapshot(machine, "to export")
    with tempfile.TemporaryDirectory() as folder:
        lease = wait_for_lease(taken.ExportSnapshot())
        digest = peer.simulator.digest(machine, 2001, taken)
        peer.simulator.guest_write(machine, 2001, 0, 2 * MIB, seed=11)
        export_checked(peer, lease, machine, folder, digest)


@check
def export_of_a_running_machine_refused(peer):
    machine = peer.machine(on=True)
    expect_fault(vim.fault.InvalidPowerState, lambda: wait_for_lease(machine.ExportVm()))


@check
def export_aborted(peer):
    lease = wait_for_lease(peer.machine().ExportVm())
    url = lease.info.deviceUrl[0].url
    lease.HttpNfcLeaseAbort()
    expect(lease.state == "error", f"the lease is {lease.state}")
    expect(peer.request("GET", url)[0] in (403, 404, 410), "what was aborted is served still")


@check
def import_by_hand(peer):
    """A specification made by hand and a stream made by qemu-img: the machine has to have its bytes."""
    datacenter, folder, pool, datastore = peer.place_of(peer.all_of(vim.VirtualMachine)[0])
    with tempfile.TemporaryDirectory() as scratch:
        stream, digest = stream_of(scratch, 24)
        config = new_machine_spec("imported by hand", datastore, mebibytes=(24,))
        lease = wait_for_lease(pool.ImportVApp(vim.vm.VmImportSpec(configSpec=config), folder))
        upload(peer, lease, [stream])
        machine = lease.info.entity
        lease.HttpNfcLeaseComplete()
    expect(lease.state == "done", f"the lease is {lease.state}")
    expect(machine.name == "imported by hand" and disks_of(machine)[2000].capacityInBytes == 24 * MIB, f"{machine.name}")
    expect(peer.simulator.digest(machine, 2000) == digest, "the disk's bytes are others")
    expect_fault(vim.fault.InvalidState, lease.HttpNfcLeaseComplete)
    WaitForTask(machine.PowerOnVM_Task())


@check
def import_and_export_an_ovf(peer):
    """Out with a descriptor, and in again by it."""
    source = create(peer, "to be described", mebibytes=(16,))
    _, folder, pool, datastore = peer.place_of(source)
    peer.simulator.guest_write(source, 2000, MIB, MIB, seed=12, force=True)
    with tempfile.TemporaryDirectory() as scratch:
        lease = wait_for_lease(source.ExportVm())
        device = [url for url in lease.info.deviceUrl if url.disk][0]
        stream = download(peer, device, scratch)
        lease.HttpNfcLeaseProgress(100)
        lease.HttpNfcLeaseComplete()
        file = vim.OvfManager.OvfFile(deviceId=device.key, path="disk-0.vmdk", size=os.path.getsize(stream))
        manager = peer.content.ovfManager
        described = manager.CreateDescriptor(source, vim.OvfManager.CreateDescriptorParams(name="described", ovfFiles=[file]))
        expect(not described.error and "disk-0.vmdk" in described.ovfDescriptor, f"{described.error}")
        params = vim.OvfManager.CreateImportSpecParams(entityName="described again", diskProvisioning="thin")
        made = manager.CreateImportSpec(described.ovfDescriptor, pool, datastore, params)
        expect(not made.error and made.importSpec is not None, f"{made.error}")
        expect([item.path for item in made.fileItem] == ["disk-0.vmdk"], f"{made.fileItem}")
        lease = wait_for_lease(pool.ImportVApp(made.importSpec, folder))
        expect(any(url.importKey == made.fileItem[0].deviceId for url in lease.info.deviceUrl), "no URL has the item's key")
        upload(peer, lease, [stream])
        machine = lease.info.entity
        lease.HttpNfcLeaseComplete()
    expect(peer.simulator.digest(machine, 2000) == peer.simulator.digest(source, 2000), "the disk's bytes are others")


@check
def first_class_disk(peer):
    machine = peer.machine()
    _, _, _, datastore = peer.place_of(machine)
    disks = FirstClassDisks(peer, datastore)
    disk = disks.create("of the peer", 16)
    expect(disk.name == "of the peer" and disk.capacityInMB == 16 and disk.backing.filePath, f"{disk}")
    expect(disk.id.id in [one.id for one in disks.call("ListVStorageObject")], "it is not listed")
    expect(disks.get(disk).name == "of the peer" and not disks.get(disk).consumerId, "it is called otherwise")
    WaitForTask(machine.AttachDisk_Task(disk.id, datastore, 1000, 4))
    held = disks_of(machine)[2004]
    expect(held.vDiskId.id == disk.id.id and held.capacityInBytes == 16 * MIB, f"{held}")
    expect([one.id for one in disks.get(disk).consumerId] == [machine.config.instanceUuid], f"{disks.get(disk)}")
    expect_fault(vim.fault.InvalidState, lambda: disks.task("DeleteVStorageObject_Task", disk.id))
    WaitForTask(machine.DetachDisk_Task(disk.id))
    expect(2004 not in disks_of(machine), "it is attached still")
    taken = disks.snapshot(disk, "of a disk")
    listed = disks.call("RetrieveSnapshotInfo", disk.id).snapshots
    expect([one.id.id for one in listed] == [taken.id], f"{listed}")
    disks.task("DeleteSnapshot_Task", disk.id, taken)
    disks.call("RenameVStorageObject", disk.id, "renamed")
    disks.task("ExtendDisk_Task", disk.id, 24)
    shown = disks.get(disk)
    expect(shown.name == "renamed" and shown.capacityInMB == 24, f"{shown}")
    disks.task("DeleteVStorageObject_Task", disk.id)
    expect_fault(vim.fault.NotFound, lambda: disks.get(disk))


@check
def first_class_disk_with_content(peer):
    """Bytes go in through a machine that has the disk, and are there at each snapshot, in copies, and after going back."""
    machine = peer.machine()
    _, _, _, datastore = peer.place_of(machine)
    disks = FirstClassDisks(peer, datastore)
    disk = disks.create("with content", 16)
    WaitForTask(machine.AttachDisk_Task(disk.id, datastore, 1000, 5))
    peer.simulator.guest_write(machine, 2005, MIB, MIB, seed=21, force=True)
    first = peer.simulator.digest(machine, 2005)
    taken = disks.snapshot(disk, "first")
    peer.simulator.guest_write(machine, 2005, 3 * MIB, MIB, seed=22, force=True)
    expect(peer.simulator.digest(machine, 2005) != first, "nothing was written")
    WaitForTask(machine.DetachDisk_Task(disk.id))
    copy = disks.task("CreateDiskFromSnapshot_Task", disk.id, taken, "copy").config
    disks.task("RevertVStorageObject_Task", disk.id, taken)
    for one in (disk, copy):
        WaitForTask(machine.AttachDisk_Task(one.id, datastore, 1000, 5))
        expect(peer.simulator.digest(machine, 2005) == first, f"{one.name} has other bytes")
        WaitForTask(machine.DetachDisk_Task(one.id))
    for one in (disk, copy):
        disks.task("DeleteVStorageObject_Task", one.id)


@check
def first_class_disk_changed_areas(peer):
    machine = peer.machine()
    _, _, _, datastore = peer.place_of(machine)
    disks = FirstClassDisks(peer, datastore)
    disk = disks.create("tracked", 16)
    disks.call("SetVStorageObjectControlFlags", disk.id, ["enableChangedBlockTracking"])
    expect(disks.get(disk).changedBlockTrackingEnabled, "it is not tracked")
    first = disks.snapshot(disk, "first")
    WaitForTask(machine.AttachDisk_Task(disk.id, datastore, 1000, 6))
    peer.simulator.guest_write(machine, 2006, 4 * MIB, MIB, seed=23, force=True)
    WaitForTask(machine.DetachDisk_Task(disk.id))
    second = disks.snapshot(disk, "second")
    change_id = disks.call("RetrieveSnapshotDetails", disk.id, first).changedBlockTrackingId
    at, areas = 0, []
    while at < 16 * MIB:
        window = disks.manager.VstorageObjectVCenterQueryChangedDiskAreas(disk.id, datastore, second, at, change_id)
        expect(window.startOffset == at and window.length > 0, f"{window}")
        areas += [(area.start, area.length) for area in window.changedArea]
        at += window.length
    expect(at == 16 * MIB and areas == [(4 * MIB, MIB)], f"{areas}")
    expect_fault(vim.fault.FileFault, lambda: disks.manager.VstorageObjectVCenterQueryChangedDiskAreas(
        disk.id, datastore, first, 0, disks.call("RetrieveSnapshotDetails", disk.id, second).changedBlockTrackingId))
    disks.task("DeleteVStorageObject_Task", disk.id)


class FirstClassDisks:
    """The manager of a vCenter's disks, or of a host's, whose methods have other names and the same arguments."""

    OF_A_HOST = {"RetrieveSnapshotInfo": "HostVStorageObjectRetrieveSnapshotInfo",
                 "VStorageObjectCreateSnapshot_Task": "HostVStorageObjectCreateSnapshot_Task",
                 "DeleteSnapshot_Task": "HostVStorageObjectDeleteSnapshot_Task",
                 "RevertVStorageObject_Task": "HostVStorageObjectRevert_Task",
                 "CreateDiskFromSnapshot_Task": "HostVStorageObjectCreateDiskFromSnapshot_Task"}

    def __init__(self, peer, datastore):
        self.manager, self.datastore = peer.content.vStorageObjectManager, datastore
        self.is_host = isinstance(self.manager, vim.vslm.host.VStorageObjectManager)

    def method(self, name):
        return getattr(self.manager, self.OF_A_HOST.get(name, "Host" + name) if self.is_host else name)

    def call(self, name, *arguments):
        """The datastore comes behind the disk's id."""
        return self.method(name)(*arguments[:1], self.datastore, *arguments[1:])

    def task(self, name, *arguments):
        task = self.call(name, *arguments)
        WaitForTask(task)
        return task.info.result

    def create(self, name, mebibytes):
        backing = vim.vslm.CreateSpec.DiskFileBackingSpec(datastore=self.datastore, provisioningType="thin")
        spec = vim.vslm.CreateSpec(name=name, keepAfterDeleteVm=True, capacityInMB=mebibytes, backingSpec=backing)
        task = self.method("CreateDisk_Task")(spec)
        WaitForTask(task)
        return task.info.result.config

    def get(self, disk):
        return self.call("RetrieveVStorageObject", disk.id).config

    def snapshot(self, disk, description):
        return self.task("VStorageObjectCreateSnapshot_Task", disk.id, description)


def wait_for_lease(lease):
    deadline = time.monotonic() + 60
    while lease.state == vim.HttpNfcLease.State.initializing:
        expect(time.monotonic() < deadline, "the lease is not made ready")
        time.sleep(0.05)
    if lease.state == vim.HttpNfcLease.State.error:
        raise lease.error
    return lease


def export_checked(peer, lease, machine, folder, digest=None):
    """All disks of a lease: the one of 256 MiB has to hold the machine's bytes."""
    expect(lease.state == "ready" and lease.info.leaseTimeout > 0 and lease.info.entity is not None, f"{lease.info}")
    devices = [url for url in lease.info.deviceUrl if url.disk]
    expect(len(devices) == 2, f"the lease has {lease.info.deviceUrl}")
    expect(lease.info.totalDiskCapacityInKB > 0, "all disks together hold nothing")
    manifest = {}
    for number, device in enumerate(devices):
        stream = download(peer, device, folder)
        lease.HttpNfcLeaseProgress(50 * (number + 1))
        manifest[device.key] = stream
        info = qemu_img("info", stream)
        expect("streamOptimized" in info, f"it is no stream: {info}")
    small = min(manifest.values(), key=lambda stream: os.path.getsize(stream) if "256 MiB" not in qemu_img("info", stream) else -1)
    raw = os.path.join(folder, "raw")
    qemu_img("convert", "-f", "vmdk", "-O", "raw", small, raw)
    expect(sha256_of(raw) == (digest or peer.simulator.digest(machine, 2001)), "the exported bytes are others")
    for entry in lease.HttpNfcLeaseGetManifest():
        if entry.disk and entry.key in manifest:
            expect(entry.size == os.path.getsize(manifest[entry.key]), f"{entry}")
            with open(manifest[entry.key], "rb") as file:
                expect(entry.sha1 == hashlib.sha1(file.read()).hexdigest(), f"{entry}")
    lease.HttpNfcLeaseComplete()
    expect(lease.state == "done", f"the lease is {lease.state}")
    expect_fault(vim.fault.InvalidState, lease.HttpNfcLeaseComplete)
    expect(peer.request("GET", devices[0].url)[0] in (403, 404, 410), "what is done is served still")


def download(peer, device, folder):
    status, headers, content = peer.request("GET", device.url)
    expect(status == 200 and content[:4] == b"KDMV", f"{device.url} answered {status} and {content[:4]}")
    path = os.path.join(folder, device.targetId or secrets.token_hex(4) + ".vmdk")
    with open(path, "wb") as file:
        file.write(content)
    return path


def upload(peer, lease, streams):
    disks = [url for url in lease.info.deviceUrl if url.disk]
    expect(len(disks) == len(streams), f"{len(streams)} disks for {lease.info.deviceUrl}")
    for device, stream in zip(disks, streams):
        with open(stream, "rb") as file:
            status, _, said = peer.request("POST", device.url, file.read(), Content_Type=STREAM, Overwrite="t")
        expect(status in (200, 201), f"{device.url} answered {status}: {said[:200]}")
    lease.HttpNfcLeaseProgress(100)


def stream_of(folder, mebibytes):
    """A stream of bytes that nobody knows but us, and the digest of the disk."""
    raw, stream = os.path.join(folder, "source"), os.path.join(folder, "source.vmdk")
    with open(raw, "wb") as file:
        file.truncate(mebibytes * MIB)
        for start in (0, 5 * MIB + 512, (mebibytes - 1) * MIB):
            file.seek(start)
            file.write(os.urandom(MIB // 2))
    qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, stream)
    return stream, sha256_of(raw)


@check
def full_datastore(peer):
    """What does not fit is refused, with the datastore and the file, and leaves nothing."""
    machine = peer.tracked()
    datacenter, _, _, datastore = peer.place_of(machine)
    before, folder = datastore.summary, folder_of(machine)
    expect(before.type == "VMFS" and before.capacity > before.freeSpace >= 0 and before.uncommitted > 0, f"{before}")
    files = set(files_below(datastore, folder))
    # What is on it already is more than this.
    small = 4096
    peer.simulator.tell("datastore-capacity", name=datastore.name, capacity=small)
    try:
        summary = datastore.summary
        expect(summary.capacity == small and summary.freeSpace == 0, f"{summary}")
        fault = expect_fault(vim.fault.NoDiskSpace, lambda: snapshot(machine, "none"))
        expect(fault.datastore == datastore.name and folder in fault.file, f"{fault}")
        expect(machine.snapshot is None and not machine.runtime.consolidationNeeded, "something of it is left")
        expect(set(files_below(datastore, folder)) == files, f"{files_below(datastore, folder)}")
        spec = vim.VirtualDiskManager.FileBackedVirtualDiskSpec(diskType="eagerZeroedThick", adapterType="lsiLogic",
                                                                capacityKb=64 * 1024)
        name = f"[{datastore.name}] does not fit.vmdk"
        make = peer.content.virtualDiskManager.CreateVirtualDisk_Task
        fault = expect_fault(vim.fault.NoDiskSpace, lambda: WaitForTask(make(name, datacenter, spec)))
        expect(fault.datastore == datastore.name and fault.file == name, f"{fault}")
        expect_fault(vim.fault.NoDiskSpace, lambda: create(peer, "does not fit", beside=machine))
        expect(peer.by_name("does not fit") is None, "a machine of it is left")
        value = peer.service._stub.cookie.split("=", 1)[1].split(";", 1)[0]
        url = peer.file_url(datacenter, datastore, "does not fit.bin")
        status, _, _ = peer.request("PUT", url, bytes(MIB), Cookie=f"vmware_soap_session={value}")
        expect(status in (500, 507), f"PUT answered {status}")
    finally:
        peer.simulator.tell("datastore-capacity", name=datastore.name, capacity=before.capacity)
    # A list of the whole datastore makes the machines that nobody has used yet, which needs room.
    left = [name for name in files_below(datastore, "") if "does not fit" in name]
    expect(not left, f"{left} is left")
    snapshot(machine, "fits")


@check
def changed_areas_while_the_guest_writes(peer):
    """The guest goes on while a chain of snapshots is asked for what changed: what differs is covered, and each is frozen."""
    machine = peer.tracked()
    disk = disks_of(machine)[2001]
    peer.simulator.tell("guest-writers", vm=machine._moId, seed=3, interval_ms=5)
    taken = []
    for number in range(3):
        # The guest's own ticks come as well: these are at least so many.
        peer.simulator.tell("guest-writers/step", vm=machine._moId, ticks=3)
        taken.append(snapshot(machine, f"cut {number}", quiesce=number == 1))
    digests = [peer.simulator.digest(machine, 2001, one) for one in taken]
    expect(len(set(digests)) == 3, f"{digests}")
    change_id = disks_of(taken[0])[2001].backing.changeId
    before = None
    for one in taken:
        areas = [(start, start + length) for start, length in changed_areas(machine, one, disk, change_id)]
        expect(bool(areas) == (one is not taken[0]), f"{len(areas)} areas")
        expect(before is None or all(any(begin <= start and end <= stop for begin, stop in areas) for start, end in before),
               "what has changed once is not there any more")
        before = areas
    expect(digests == [peer.simulator.digest(machine, 2001, one) for one in taken], "a frozen disk has changed")
