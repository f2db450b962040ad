"""What the checks of operations.py have in common: a session, machines to try things on, and the short ways to do so."""

import hashlib
import ssl
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from simulator import expect

Collector = vmodl.query.PropertyCollector
Disk = vim.vm.device.VirtualDisk
DeviceSpec = vim.vm.device.VirtualDeviceSpec

MIB = 1 << 20
CHECKS = []


def check(function):
    """Registers a function that takes a Peer as a check."""
    CHECKS.append(function)
    return function


class Peer:
    def __init__(self, simulator):
        self.simulator = simulator
        self.service = simulator.log_in()
        self.content = self.service.RetrieveContent()
        self.collector = self.content.propertyCollector
        self._machines = [machine for machine in self.all_of(vim.VirtualMachine) if not machine.config.template]
        # The largest number last, so that `machine` hands them out from the end.
        self._machines.sort(key=lambda machine: int(machine._moId.rsplit("-", 1)[-1]))

    def all_of(self, kind, root=None):
        view = self.content.viewManager.CreateContainerView(root or self.content.rootFolder, [kind], True)
        try:
            return list(view.view)
        finally:
            view.Destroy()

    def machine(self, on=False):
        """A machine that no check had before, on or off."""
        machine = self._machines.pop()
        was_on = machine.runtime.powerState == "poweredOn"
        if on != was_on:
            WaitForTask(machine.PowerOnVM_Task() if on else machine.PowerOffVM_Task())
        return machine

    def tracked(self):
        """A machine that is on and tracks changes."""
        machine = self.machine()
        WaitForTask(machine.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=True)))
        WaitForTask(machine.PowerOnVM_Task())
        return machine

    def datacenter_of(self, thing):
        while not isinstance(thing, vim.Datacenter):
            thing = thing.parent
        return thing

    def place_of(self, machine):
        """Where a machine is: its datacenter, folder for new machines, pool, datastore."""
        datacenter = self.datacenter_of(machine)
        return datacenter, datacenter.vmFolder, machine.resourcePool, machine.datastore[0]

    def by_name(self, name):
        found = [machine for machine in self.all_of(vim.VirtualMachine) if machine.name == name]
        return found[0] if found else None

    def request(self, method, url, body=None, **headers):
        """An HTTP request that the caller makes by himself: status, headers, body. `*` in a URL means our host."""
        address = self.simulator.url
        split = urllib.parse.urlsplit(url)
        if split.hostname == "*":
            url = split._replace(netloc=f"{address.hostname}:{split.port or address.port}").geturl()
        request = urllib.request.Request(url, data=body, method=method,
                                         headers={name.replace("_", "-"): value for name, value in headers.items()})
        try:
            with urllib.request.urlopen(request, timeout=60, context=ssl._create_unverified_context()) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def file_url(self, datacenter, datastore, path):
        query = urllib.parse.urlencode({"dcPath": datacenter.name, "dsName": datastore.name})
        return f"https://{self.simulator.url.hostname}:{self.simulator.url.port}/folder/{urllib.parse.quote(path)}?{query}"


def disks_of(thing):
    """The disks of a machine or a snapshot, by their keys."""
    return {device.key: device for device in thing.config.hardware.device if isinstance(device, Disk)}


def devices_of(machine, kind):
    return [device for device in machine.config.hardware.device if isinstance(device, kind)]


def snapshot(machine, name, quiesce=False, memory=False):
    task = machine.CreateSnapshot_Task(name=name, description="peer check", memory=memory, quiesce=quiesce)
    WaitForTask(task)
    expect(isinstance(task.info.result, vim.vm.Snapshot), f"the task's result is {task.info.result!r}")
    return task.info.result


def reconfigure(machine, **spec):
    WaitForTask(machine.ReconfigVM_Task(vim.vm.ConfigSpec(**spec)))


def new_disk(mebibytes, controller, unit, key=-101, file_name=""):
    backing = Disk.FlatVer2BackingInfo(fileName=file_name, diskMode="persistent", thinProvisioned=True)
    disk = Disk(key=key, controllerKey=controller, unitNumber=unit, backing=backing, capacityInKB=mebibytes * 1024)
    return DeviceSpec(operation="add", fileOperation="create", device=disk)


def new_controller(kind=vim.vm.device.ParaVirtualSCSIController, key=-1, bus=0):
    return DeviceSpec(operation="add", device=kind(key=key, busNumber=bus, sharedBus="noSharing"))


def new_card(network, key=-50):
    backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=network.name, network=network)
    card = vim.vm.device.VirtualVmxnet3(key=key, backing=backing, addressType="generated")
    return DeviceSpec(operation="add", device=card)


def new_machine_spec(name, datastore, network=None, mebibytes=(16,)):
    """A small machine as people describe it: negative keys, and no file names but the datastore's."""
    changes = [new_controller(key=-1)]
    changes += [new_disk(size, -1, unit, key=-10 - unit) for unit, size in enumerate(mebibytes)]
    if network is not None:
        changes.append(new_card(network))
    return vim.vm.ConfigSpec(
        name=name, memoryMB=128, numCPUs=1, guestId="otherGuest64", annotation=f"made as {name}",
        files=vim.vm.FileInfo(vmPathName=f"[{datastore.name}]"), deviceChange=changes,
    )


def create(peer, name, mebibytes=(16,), beside=None):
    """A new machine beside another, or beside any."""
    beside = beside or peer.all_of(vim.VirtualMachine)[0]
    datacenter, folder, pool, datastore = peer.place_of(beside)
    task = folder.CreateVM_Task(new_machine_spec(name, datastore, datacenter.network[0], mebibytes), pool)
    WaitForTask(task)
    expect(isinstance(task.info.result, vim.VirtualMachine), f"the task's result is {task.info.result!r}")
    return task.info.result


def changed_areas(machine, since, disk, change_id):
    """All pages of QueryChangedDiskAreas."""
    areas, offset = [], 0
    while offset < disk.capacityInBytes:
        page = machine.QueryChangedDiskAreas(since, disk.key, offset, change_id)
        expect(page.startOffset == offset and page.length > 0, f"asked for {offset}, got {page.startOffset}+{page.length}")
        areas += [(area.start, area.length) for area in page.changedArea]
        offset += page.length
    expect(offset == disk.capacityInBytes, f"the pages end at {offset}, the disk at {disk.capacityInBytes}")
    return areas


def files_below(datastore, path):
    """The files of a folder of a datastore, by their names, as the browser lists them."""
    details = vim.host.DatastoreBrowser.FileInfo.Details(fileSize=True, fileType=True, fileOwner=False, modification=True)
    spec = vim.host.DatastoreBrowser.SearchSpec(details=details)
    task = datastore.browser.SearchDatastore_Task(f"[{datastore.name}] {path}", spec)
    WaitForTask(task)
    return {found.path: found for found in task.info.result.file}


def folder_of(machine):
    """The path of a machine's folder inside of its datastore."""
    return machine.config.files.vmPathName.split("] ", 1)[1].rsplit("/", 1)[0]


def qemu_img(*arguments):
    done = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True, check=False)
    expect(done.returncode == 0, f"qemu-img {arguments[0]}: {done.stderr}")
    return done.stdout


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(MIB):
            digest.update(block)
    return digest.hexdigest()
