"""Checks of what is done with machines: power, snapshots, configuration, and their coming and going."""

import time

from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from peer import (MIB, DeviceSpec, changed_areas, check, create, devices_of, disks_of, files_below, folder_of, new_card,
                  new_controller, new_disk, reconfigure, snapshot)
from simulator import expect, expect_fault

SCSI = vim.vm.device.VirtualSCSIController


@check
def power_on_and_off(peer):
    machine = peer.machine(on=True)
    expect(machine.runtime.powerState == "poweredOn" and machine.runtime.bootTime, f"{machine.runtime}")
    expect(machine.guest.toolsRunningStatus == "guestToolsRunning", f"the tools are {machine.guest.toolsRunningStatus}")
    fault = expect_fault(vim.fault.InvalidPowerState, lambda: WaitForTask(machine.PowerOnVM_Task()))
    expect(fault.existingState == "poweredOn", f"the state is said to be {fault.existingState}")
    WaitForTask(machine.PowerOffVM_Task())
    expect(machine.runtime.powerState == "poweredOff" and machine.runtime.bootTime is None, f"{machine.runtime}")
    expect_fault(vim.fault.InvalidPowerState, lambda: WaitForTask(machine.PowerOffVM_Task()))


@check
def power_reset(peer):
    machine = peer.machine(on=True)
    WaitForTask(machine.ResetVM_Task())
    expect(machine.runtime.powerState == "poweredOn", f"it is {machine.runtime.powerState}")
    WaitForTask(machine.PowerOffVM_Task())
    expect_fault(vim.fault.InvalidPowerState, lambda: WaitForTask(machine.ResetVM_Task()))


@check
def power_suspend(peer):
    machine = peer.machine(on=True)
    WaitForTask(machine.SuspendVM_Task())
    expect(machine.runtime.powerState == "suspended" and machine.runtime.suspendTime, f"{machine.runtime}")
    expect_fault(vim.fault.InvalidPowerState, lambda: WaitForTask(machine.SuspendVM_Task()))
    WaitForTask(machine.PowerOnVM_Task())
    expect(machine.runtime.powerState == "poweredOn", f"it is {machine.runtime.powerState}")


@check
def shutdown_guest(peer):
    machine = peer.machine(on=True)
    machine.ShutdownGuest()
    deadline = time.monotonic() + 30
    while machine.runtime.powerState != "poweredOff":
        expect(time.monotonic() < deadline, "the guest does not go down")
        time.sleep(0.1)
    expect(machine.runtime.cleanPowerOff, "the guest went down, and that is said to be unclean")
    expect_fault(vim.fault.InvalidPowerState, machine.ShutdownGuest)


@check
def reboot_guest(peer):
    machine = peer.machine(on=True)
    machine.RebootGuest()
    expect(machine.runtime.powerState == "poweredOn", f"it is {machine.runtime.powerState}")


@check
def power_on_several(peer):
    machines = [peer.machine(), peer.machine()]
    task = peer.datacenter_of(machines[0]).PowerOnMultiVM_Task(machines, [])
    WaitForTask(task)
    for machine in machines:
        deadline = time.monotonic() + 30
        while machine.runtime.powerState != "poweredOn":
            expect(time.monotonic() < deadline, f"{machine.name} does not go on")
            time.sleep(0.1)


@check
def snapshot_plain(peer):
    machine = peer.machine(on=True)
    taken = snapshot(machine, "plain % /")
    tree = machine.snapshot.rootSnapshotList
    expect(len(tree) == 1 and tree[0].snapshot == taken, f"{tree}")
    # Percent, slash and backslash come escaped wherever there is a name.
    expect(tree[0].name == "plain %25 %2f", f"its name is {tree[0].name}")
    # Without the memory, it is a snapshot of a machine that is off.
    expect(tree[0].state == "poweredOff" and not tree[0].quiesced, f"{tree[0]}")
    expect(machine.snapshot.currentSnapshot == taken and taken.vm == machine, "the current snapshot is another")
    for key, live in disks_of(machine).items():
        frozen = disks_of(taken)[key]
        expect(live.backing.parent.fileName == frozen.backing.fileName, f"disk {key} does not stand on the snapshot's")
    second = snapshot(machine, "second")
    expect(machine.rootSnapshot == [taken] and taken.childSnapshot == [second], "the tree is another")
    second.RenameSnapshot(name="renamed", description="other")
    child = machine.snapshot.rootSnapshotList[0].childSnapshotList[0]
    expect((child.name, child.description) == ("renamed", "other"), f"{child}")
    WaitForTask(taken.RemoveSnapshot_Task(removeChildren=True))
    expect(machine.snapshot is None and machine.rootSnapshot == [], f"{machine.snapshot}")
    expect_fault(vmodl.fault.ManagedObjectNotFound, lambda: taken.config)


@check
def snapshot_quiesced(peer):
    machine = peer.machine(on=True)
    snapshot(machine, "quiesced", quiesce=True)
    expect(machine.snapshot.rootSnapshotList[0].quiesced, "it is not quiesced")


@check
def snapshot_with_memory(peer):
    machine = peer.machine(on=True)
    taken = snapshot(machine, "memory", memory=True)
    WaitForTask(machine.PowerOffVM_Task())
    WaitForTask(taken.RevertToSnapshot_Task())
    expect(machine.runtime.powerState == "poweredOn", f"after the revert it is {machine.runtime.powerState}")


@check
def snapshot_quiesce_spec(peer):
    machine = peer.machine(on=True)
    spec = vim.vm.WindowsQuiesceSpec(timeout=10, vssBackupType=1, vssBackupContext="ctx_auto", vssPartialFileSupport=False,
                                     vssBootableSystemState=True)
    WaitForTask(machine.CreateSnapshotEx_Task(name="vss", description="", memory=False, quiesceSpec=spec))
    expect(machine.snapshot.rootSnapshotList[0].quiesced, "it is not quiesced")


@check
def snapshot_remove_keeps_content(peer):
    machine = peer.machine(on=True)
    taken = snapshot(machine, "under")
    peer.simulator.guest_write(machine, 2001, MIB, 4 * MIB, seed=3)
    before = peer.simulator.digest(machine, 2001)
    WaitForTask(taken.RemoveSnapshot_Task(removeChildren=False))
    expect(peer.simulator.digest(machine, 2001) == before, "what was written after the snapshot is gone with it")
    expect(all(disk.backing.parent is None for disk in disks_of(machine).values()), "a disk still stands on another")
    expect(not machine.runtime.consolidationNeeded, "the disks need consolidation")


@check
def snapshot_remove_all(peer):
    machine = peer.machine(on=True)
    for number in range(3):
        snapshot(machine, f"number {number}")
    WaitForTask(machine.RemoveAllSnapshots_Task())
    expect(machine.snapshot is None, "snapshots are left")


@check
def snapshot_revert(peer):
    machine = peer.machine(on=True)
    reconfigure(machine, annotation="before")
    taken = snapshot(machine, "back to here")
    before = peer.simulator.digest(machine, 2001)
    peer.simulator.guest_write(machine, 2001, 0, MIB, seed=4)
    reconfigure(machine, annotation="after")
    WaitForTask(taken.RevertToSnapshot_Task())
    expect(machine.config.annotation == "before", f"the annotation is {machine.config.annotation}")
    # A snapshot without the memory is one of a machine that is off.
    expect(machine.runtime.powerState == "poweredOff", f"it is {machine.runtime.powerState}")
    expect(peer.simulator.digest(machine, 2001) == before, "the content is not the snapshot's")
    WaitForTask(machine.RevertToCurrentSnapshot_Task())


@check
def snapshot_revert_without_one(peer):
    machine = peer.machine()
    expect_fault(vim.fault.NotFound, lambda: WaitForTask(machine.RevertToCurrentSnapshot_Task()))


@check
def consolidate(peer):
    machine = peer.machine(on=True)
    taken = snapshot(machine, "left")
    WaitForTask(taken.RemoveSnapshot_Task(removeChildren=False, consolidate=False))
    expect(machine.snapshot is None, "the snapshot is left")
    expect(machine.runtime.consolidationNeeded, "the disks do not need consolidation")
    WaitForTask(machine.ConsolidateVMDisks_Task())
    expect(not machine.runtime.consolidationNeeded, "the disks need consolidation still")
    expect(all(disk.backing.parent is None for disk in disks_of(machine).values()), "a disk still stands on another")


@check
def one_operation_at_a_time(peer):
    machine = peer.machine(on=True)
    first = machine.CreateSnapshot_Task(name="first", description="", memory=False, quiesce=False)

    def second():
        WaitForTask(machine.CreateSnapshot_Task(name="second", description="", memory=False, quiesce=False))

    fault = expect_fault(vim.fault.TaskInProgress, second)
    expect(fault.task == first, f"the fault names {fault.task}")
    WaitForTask(first)


@check
def reconfigure_words(peer):
    machine = peer.machine()
    name = "über % / \\ <&>"
    reconfigure(machine, name=name, annotation="line\nline & \"quote\"")
    escaped = name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")
    expect(machine.name == escaped and machine.config.name == escaped, f"it is called {machine.name}")
    expect(machine.summary.config.name == escaped, f"its summary calls it {machine.summary.config.name}")
    expect(machine.config.annotation == "line\nline & \"quote\"", f"its annotation is {machine.config.annotation!r}")


@check
def reconfigure_hardware(peer):
    machine = peer.machine()
    reconfigure(machine, numCPUs=4, memoryMB=2048)
    hardware, summary = machine.config.hardware, machine.summary.config
    expect((hardware.numCPU, hardware.memoryMB) == (4, 2048), f"{hardware.numCPU} processors, {hardware.memoryMB} MB")
    expect((summary.numCpu, summary.memorySizeMB) == (4, 2048), "the summary says something else")
    before = machine.config.changeVersion
    reconfigure(machine, numCPUs=2)
    expect(machine.config.changeVersion != before, "changeVersion stays the same")
    # Against an older version of the configuration nothing is changed.
    expect_fault(vim.fault.ConcurrentAccess, lambda: reconfigure(machine, changeVersion=before, numCPUs=8))


@check
def reconfigure_hardware_of_a_running_machine(peer):
    machine = peer.machine(on=True)
    expect_fault((vim.fault.VmConfigFault, vim.fault.InvalidPowerState), lambda: reconfigure(machine, numCPUs=8))


@check
def reconfigure_extra_config(peer):
    machine = peer.machine()
    pairs = {"guestinfo.peer": "one = two", "disk.EnableUUID": "TRUE"}
    reconfigure(machine, extraConfig=[vim.option.OptionValue(key=key, value=value) for key, value in pairs.items()])
    held = {option.key: option.value for option in machine.config.extraConfig}
    expect(all(held.get(key) == value for key, value in pairs.items()), f"{held}")
    reconfigure(machine, extraConfig=[vim.option.OptionValue(key="guestinfo.peer", value="")])
    held = {option.key: option.value for option in machine.config.extraConfig}
    expect("guestinfo.peer" not in held and held.get("disk.EnableUUID") == "TRUE", f"{held}")


@check
def reconfigure_rename(peer):
    machine = peer.machine()
    other = peer.machine()
    WaitForTask(machine.Rename_Task("renamed machine"))
    expect(machine.name == "renamed machine" == machine.config.name, f"it is called {machine.name}")
    fault = expect_fault(vim.fault.DuplicateName, lambda: WaitForTask(other.Rename_Task("renamed machine")))
    expect(fault.object == machine, f"the fault names {fault.object}")


@check
def change_tracking(peer):
    machine = peer.tracked()
    first = snapshot(machine, "first")
    since = disks_of(first)[2001].backing.changeId
    expect(since, "the disk has no changeId")
    peer.simulator.guest_write(machine, 2001, 5 * MIB, MIB, seed=5)
    second = snapshot(machine, "second")
    areas = changed_areas(machine, second, disks_of(second)[2001], since)
    expect(any(start <= 5 * MIB and start + length >= 6 * MIB for start, length in areas), f"{areas}")
    allocated = changed_areas(machine, second, disks_of(second)[2001], "*")
    expect(sum(length for _, length in allocated) < disks_of(second)[2001].capacityInBytes, "all of a thin disk is in use")
    # Off and on again, each from a snapshot on, and older ids are of no use.
    WaitForTask(machine.RemoveAllSnapshots_Task())
    for wanted in (False, True):
        reconfigure(machine, changeTrackingEnabled=wanted)
        WaitForTask(snapshot(machine, "stun").RemoveSnapshot_Task(removeChildren=False))
    third = snapshot(machine, "third")
    expect_fault(vim.fault.FileFault, lambda: changed_areas(machine, third, disks_of(third)[2001], since))


@check
def change_tracking_of_a_machine_that_is_off(peer):
    machine = peer.machine()
    reconfigure(machine, changeTrackingEnabled=True)
    WaitForTask(machine.PowerOnVM_Task())
    since = disks_of(snapshot(machine, "first"))[2001].backing.changeId
    peer.simulator.guest_write(machine, 2001, 0, MIB, seed=6)
    WaitForTask(machine.PowerOffVM_Task())
    areas = changed_areas(machine, None, disks_of(machine)[2001], since)
    expect(areas and areas[0][0] == 0, f"{areas}")


@check
def disk_add(peer):
    machine = peer.machine()
    reconfigure(machine, deviceChange=[new_disk(32, 1000, 2)])
    disk = disks_of(machine).get(2002)
    expect(disk is not None, f"the disks are {sorted(disks_of(machine))}")
    expect(disk.capacityInKB == 32 * 1024 and disk.capacityInBytes == 32 * MIB, f"{disk}")
    expect(disk.controllerKey == 1000 and disk.unitNumber == 2, f"{disk.controllerKey}:{disk.unitNumber}")
    expect(disk.backing.uuid and disk.backing.fileName.endswith(".vmdk") and disk.backing.datastore, f"{disk.backing}")
    expect(disk.diskObjectId and disk.deviceInfo.label == "Hard disk 3", f"{disk}")
    controller = [device for device in devices_of(machine, SCSI) if device.key == 1000][0]
    expect(2002 in controller.device, f"the controller has {controller.device}")
    layout = {file.name for file in machine.layoutEx.file}
    expect(disk.backing.fileName in layout, f"{sorted(layout)}")


@check
def disk_add_to_a_running_machine(peer):
    machine = peer.machine(on=True)
    reconfigure(machine, deviceChange=[new_disk(16, 1000, 3)])
    expect(2003 in disks_of(machine), f"the disks are {sorted(disks_of(machine))}")
    peer.simulator.guest_write(machine, 2003, 0, MIB, seed=1)


@check
def disk_add_refused(peer):
    machine = peer.machine()
    # In use, the controller's own, and more than any has.
    for unit in (0, 7, 65):
        expect_fault(vim.fault.InvalidDeviceSpec, lambda: reconfigure(machine, deviceChange=[new_disk(16, 1000, unit)]))
    fault = expect_fault(vim.fault.InvalidDeviceSpec, lambda: reconfigure(machine, deviceChange=[new_disk(16, 4711, 1)]))
    expect(fault.deviceIndex == 0, f"the fault is about device {fault.deviceIndex}")
    expect(sorted(disks_of(machine)) == [2000, 2001], f"the disks are {sorted(disks_of(machine))}")


@check
def disk_grow(peer):
    machine = peer.machine()
    peer.simulator.guest_write(machine, 2001, MIB, MIB, seed=7, force=True)
    disk = disks_of(machine)[2001]
    before = disk.capacityInKB
    disk.capacityInKB = before + 64 * 1024
    # Whoever edits a disk sends what he read, so the old number of bytes comes along.
    disk.capacityInBytes = disk.capacityInKB * 1024
    reconfigure(machine, deviceChange=[DeviceSpec(operation="edit", device=disk)])
    after = disks_of(machine)[2001]
    expect(after.capacityInKB == before + 64 * 1024, f"it has {after.capacityInKB} KB, and had {before}")
    after.capacityInKB, after.capacityInBytes = before, before * 1024
    expect_fault(vmodl.MethodFault, lambda: reconfigure(machine, deviceChange=[DeviceSpec(operation="edit", device=after)]))
    expect(disks_of(machine)[2001].capacityInKB == before + 64 * 1024, "the disk has shrunk")


@check
def disk_grow_under_a_snapshot_refused(peer):
    machine = peer.machine()
    taken = snapshot(machine, "holds it")
    disk = disks_of(machine)[2001]
    disk.capacityInKB += 1024
    disk.capacityInBytes += MIB
    expect_fault(vmodl.MethodFault, lambda: reconfigure(machine, deviceChange=[DeviceSpec(operation="edit", device=disk)]))
    WaitForTask(taken.RemoveSnapshot_Task(removeChildren=False))
    disk = disks_of(machine)[2001]
    disk.capacityInKB += 1024
    disk.capacityInBytes += MIB
    reconfigure(machine, deviceChange=[DeviceSpec(operation="edit", device=disk)])


@check
def disk_detach_and_attach(peer):
    machine = peer.machine()
    disk = disks_of(machine)[2001]
    path = disk.backing.fileName
    reconfigure(machine, deviceChange=[DeviceSpec(operation="remove", device=disk)])
    expect(sorted(disks_of(machine)) == [2000], f"the disks are {sorted(disks_of(machine))}")
    names = files_below(machine.datastore[0], folder_of(machine))
    expect(path.rsplit("/", 1)[1] in names, f"the file is gone: {sorted(names)}")
    # To another machine, the way a proxy takes the disks of what it backs up.
    proxy = peer.machine()
    spec = new_disk(0, 1000, 5, file_name=path)
    spec.fileOperation = None
    reconfigure(proxy, deviceChange=[spec])
    held = disks_of(proxy)[2005]
    expect(held.backing.fileName == path and held.capacityInKB == disk.capacityInKB, f"{held}")
    expect(held.backing.uuid == disk.backing.uuid, "its uuid has changed")


@check
def disk_independent(peer):
    """What is independent is left out of snapshots, and untouched by going back to one."""
    machine = peer.machine()
    added = new_disk(16, 1000, 2)
    added.device.backing.diskMode = "independent_persistent"
    reconfigure(machine, deviceChange=[added])
    WaitForTask(machine.PowerOnVM_Task())
    path = disks_of(machine)[2002].backing.fileName
    taken = snapshot(machine, "without it")
    live = disks_of(machine)
    expect(live[2002].backing.fileName == path and live[2002].backing.parent is None, f"{live[2002].backing}")
    expect(live[2000].backing.parent is not None, "the other disk has no delta")
    peer.simulator.guest_write(machine, 2002, 0, MIB, seed=15)
    written = peer.simulator.digest(machine, 2002)
    WaitForTask(taken.RevertToSnapshot_Task())
    expect(peer.simulator.digest(machine, 2002) == written, "going back has changed it")


@check
def disk_destroy(peer):
    machine = peer.machine()
    disk = disks_of(machine)[2001]
    reconfigure(machine, deviceChange=[DeviceSpec(operation="remove", fileOperation="destroy", device=disk)])
    names = files_below(machine.datastore[0], folder_of(machine))
    expect(disk.backing.fileName.rsplit("/", 1)[1] not in names, f"the file is there: {sorted(names)}")


@check
def card_and_controller_add(peer):
    machine = peer.machine()
    datacenter, _, _, _ = peer.place_of(machine)
    changes = [new_controller(key=-1, bus=1), new_disk(16, -1, 0, key=-2), new_card(datacenter.network[0], key=-3)]
    cards = len(devices_of(machine, vim.vm.device.VirtualEthernetCard))
    reconfigure(machine, deviceChange=changes)
    controllers = {device.key: device for device in devices_of(machine, SCSI)}
    expect(isinstance(controllers.get(1001), vim.vm.device.ParaVirtualSCSIController), f"{sorted(controllers)}")
    expect(controllers[1001].busNumber == 1 and controllers[1001].scsiCtlrUnitNumber == 7, f"{controllers[1001]}")
    disk = disks_of(machine).get(2016)
    expect(disk is not None and disk.controllerKey == 1001 and disk.unitNumber == 0, f"{sorted(disks_of(machine))}")
    added = devices_of(machine, vim.vm.device.VirtualEthernetCard)
    expect(len(added) == cards + 1 and all(card.key >= 4000 for card in added), f"{added}")
    card = max(added, key=lambda card: card.key)
    expect(card.macAddress.startswith("00:50:56:") and card.connectable is not None, f"{card}")
    expect(datacenter.network[0] in machine.network, f"its networks are {machine.network}")


@check
def create_machine(peer):
    machine = create(peer, "made from nothing", mebibytes=(16, 32))
    expect(machine.name == "made from nothing" and machine.config.annotation == "made as made from nothing", f"{machine.config}")
    expect(machine.config.uuid and machine.config.instanceUuid and machine.config.uuid != machine.config.instanceUuid, "uuids")
    expect({key: disk.capacityInBytes for key, disk in disks_of(machine).items()} == {2000: 16 * MIB, 2001: 32 * MIB},
           f"{disks_of(machine)}")
    expect([device.key for device in devices_of(machine, SCSI)] == [1000], f"{devices_of(machine, SCSI)}")
    keys = {device.key for device in machine.config.hardware.device}
    expect({100, 200, 201, 300, 400, 500, 600, 700} <= keys, f"what every machine has is not all there: {sorted(keys)}")
    expect(machine.runtime.powerState == "poweredOff" and machine.runtime.host, f"{machine.runtime}")
    files = files_below(machine.datastore[0], folder_of(machine))
    expect({"made from nothing.vmx", "made from nothing.vmdk", "made from nothing_1.vmdk"} <= set(files), f"{sorted(files)}")
    expect(machine in peer.datacenter_of(machine).vmFolder.childEntity, "its folder does not have it")
    expect(machine in machine.datastore[0].vm and machine in machine.resourcePool.vm, "datastore or pool do not have it")
    WaitForTask(machine.PowerOnVM_Task())
    snapshot(machine, "of a new machine")


@check
def create_machine_twice(peer):
    machine = create(peer, "only once")
    fault = expect_fault(vim.fault.DuplicateName, lambda: create(peer, "only once"))
    expect(fault.object == machine and fault.name == "only once", f"{fault}")


@check
def register_and_unregister(peer):
    machine = peer.machine()
    _, folder, pool, _ = peer.place_of(machine)
    config, disks, digest = machine.config, disks_of(machine), peer.simulator.digest(machine, 2001)
    path = config.files.vmPathName
    fault = expect_fault(vim.fault.AlreadyExists, lambda: WaitForTask(folder.RegisterVM_Task(path, None, False, pool)))
    expect(fault.name, "the fault has no name")
    machine.UnregisterVM()
    expect_fault(vmodl.fault.ManagedObjectNotFound, lambda: machine.name)
    task = folder.RegisterVM_Task(path, None, False, pool)
    WaitForTask(task)
    back = task.info.result
    expect(back.config.uuid == config.uuid, f"its uuid is {back.config.uuid}, and was {config.uuid}")
    expect({key: disk.backing.uuid for key, disk in disks_of(back).items()}
           == {key: disk.backing.uuid for key, disk in disks.items()}, f"{disks_of(back)}")
    expect(back.name == config.name and peer.simulator.digest(back, 2001) == digest, "name or content differ")
    expect_fault((vim.fault.NotFound, vim.fault.FileNotFound),
                 lambda: WaitForTask(folder.RegisterVM_Task(path + ".not", "no", False, pool)))


@check
def destroy(peer):
    machine = peer.machine(on=True)
    datastore, path = machine.datastore[0], folder_of(machine)
    expect_fault(vim.fault.InvalidPowerState, lambda: WaitForTask(machine.Destroy_Task()))
    WaitForTask(machine.PowerOffVM_Task())
    expect(files_below(datastore, path), "it has no files")
    WaitForTask(machine.Destroy_Task())
    expect_fault(vmodl.fault.ManagedObjectNotFound, lambda: machine.name)
    expect_fault(vim.fault.FileNotFound, lambda: files_below(datastore, path))


@check
def clone(peer):
    machine = peer.tracked()
    _, folder, pool, _ = peer.place_of(machine)
    peer.simulator.guest_write(machine, 2001, MIB, MIB, seed=8)
    snapshot(machine, "of the source")
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(pool=pool), powerOn=False, template=False)
    task = machine.CloneVM_Task(folder=folder, name="the clone", spec=spec)
    WaitForTask(task)
    copy = task.info.result
    expect(copy.name == "the clone" and copy.config.uuid != machine.config.uuid, f"{copy.config.uuid}")
    expect(copy.config.instanceUuid != machine.config.instanceUuid, "it has the instance uuid of its source")
    expect(copy.snapshot is None and copy.runtime.powerState == "poweredOff", "snapshots or power have been cloned")
    expect(peer.simulator.digest(copy, 2001) == peer.simulator.digest(machine, 2001), "the content differs")
    expect(disks_of(copy)[2001].backing.uuid != disks_of(machine)[2001].backing.uuid, "the disks have one uuid")


@check
def template(peer):
    machine = peer.machine()
    _, folder, pool, _ = peer.place_of(machine)
    machine.MarkAsTemplate()
    expect(machine.config.template and machine.summary.config.template, "it is no template")
    expect(machine.resourcePool is None, "a template is in a pool")
    expect_fault((vmodl.fault.NotSupported, vim.fault.InvalidState), lambda: WaitForTask(machine.PowerOnVM_Task()))
    spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(pool=pool), powerOn=True, template=False)
    task = machine.CloneVM_Task(folder=folder, name="from the template", spec=spec)
    WaitForTask(task)
    expect(task.info.result.runtime.powerState == "poweredOn", "the clone is off")
    machine.MarkAsVirtualMachine(pool)
    expect(not machine.config.template and machine.resourcePool == pool, "it is a template still")
    WaitForTask(machine.PowerOnVM_Task())


@check
def relocate(peer):
    machine = peer.machine()
    _, _, _, datastore = peer.place_of(machine)
    others = [store for store in peer.datacenter_of(machine).datastore if store != datastore]
    expect(others, "there is one datastore only")
    before = peer.simulator.digest(machine, 2001)
    WaitForTask(machine.RelocateVM_Task(vim.vm.RelocateSpec(datastore=others[0])))
    expect(list(machine.datastore) == [others[0]], f"it is on {machine.datastore}")
    for disk in disks_of(machine).values():
        expect(disk.backing.datastore == others[0], f"{disk.backing}")
        expect(disk.backing.fileName.startswith(f"[{others[0].name}] "), f"{disk.backing.fileName}")
    expect(machine.config.files.vmPathName.startswith(f"[{others[0].name}] "), f"{machine.config.files.vmPathName}")
    expect(peer.simulator.digest(machine, 2001) == before, "the content differs")


@check
def relocate_with_snapshots(peer):
    machine = peer.tracked()
    _, _, _, datastore = peer.place_of(machine)
    other = next(store for store in peer.datacenter_of(machine).datastore if store != datastore)
    home = folder_of(machine)
    taken = []
    for number in range(3):
        peer.simulator.guest_write(machine, 2001, number * MIB, MIB, seed=number)
        taken.append(snapshot(machine, f"number {number}"))
    WaitForTask(taken[0].RevertToSnapshot_Task())
    WaitForTask(machine.PowerOnVM_Task())
    peer.simulator.guest_write(machine, 2001, 8 * MIB, MIB, seed=9)
    before = [peer.simulator.digest(machine, 2001, at) for at in [*taken, None]]
    # A machine that is on goes on with its change ids.
    last = snapshot(machine, "before the move")
    since = disks_of(last)[2001].backing.changeId
    WaitForTask(machine.RelocateVM_Task(vim.vm.RelocateSpec(datastore=other)))
    expect([peer.simulator.digest(machine, 2001, at) for at in [*taken, None]] == before, "the content differs")
    expect(list(machine.datastore) == [other], f"it is on {machine.datastore}")
    for thing in [machine, last, *taken]:
        for disk in disks_of(thing).values():
            link = disk.backing
            while link is not None:
                expect(link.datastore == other and link.fileName.startswith(f"[{other.name}] "), f"{link}")
                link = link.parent
    now = snapshot(machine, "after the move")
    expect(changed_areas(machine, now, disks_of(now)[2001], since) == [], "the move is a change")
    expect_fault(vim.fault.FileNotFound, lambda: files_below(datastore, home))
    WaitForTask(machine.RemoveAllSnapshots_Task())
    expect(peer.simulator.digest(machine, 2001) == before[-1], "the content differs")
    # One disk goes by itself.
    locator = vim.vm.RelocateSpec.DiskLocator(diskId=2001, datastore=datastore)
    WaitForTask(machine.RelocateVM_Task(vim.vm.RelocateSpec(disk=[locator])))
    expect(disks_of(machine)[2001].backing.datastore == datastore, "the disk is where it was")
    expect(disks_of(machine)[2000].backing.datastore == other, "the other disk has gone too")
    expect(peer.simulator.digest(machine, 2001) == before[-1], "the content differs")


@check
def linked_clone(peer):
    source = peer.tracked()
    _, folder, pool, datastore = peer.place_of(source)
    peer.simulator.guest_write(source, 2001, MIB, MIB, seed=5)
    then = snapshot(source, "of the clones")
    peer.simulator.guest_write(source, 2001, MIB, MIB, seed=6)
    location = vim.vm.RelocateSpec(pool=pool, diskMoveType="createNewChildDiskBacking")
    spec = vim.vm.CloneSpec(location=location, powerOn=False, template=False)
    expect_fault(vmodl.fault.InvalidArgument,
                 lambda: WaitForTask(source.CloneVM_Task(folder=folder, name="no snapshot", spec=spec)))
    spec.snapshot = then
    task = source.CloneVM_Task(folder=folder, name="linked", spec=spec)
    WaitForTask(task)
    clone = task.info.result
    digest = peer.simulator.digest(source, 2001, then)
    expect(peer.simulator.digest(clone, 2001) == digest, "it is not what the snapshot is")
    disk, frozen = disks_of(clone)[2001].backing, disks_of(then)[2001].backing
    expect(disk.parent.fileName == frozen.fileName, f"it stands on {disk.parent}")
    expect(disk.uuid != frozen.uuid, "the disks have one uuid")
    known = {file.key: file.name for file in clone.layoutEx.file}
    chains = {chain.key: [known[unit.fileKey[0]] for unit in chain.chain] for chain in clone.layoutEx.disk}
    expect(chains[2001] == [frozen.fileName, disk.fileName], f"its layout has {chains[2001]}")
    names = list(files_below(datastore, folder_of(clone)))
    expect(disk.fileName.split("/")[-1] in names, f"{disk.fileName} is not among {names}")
    # What it stands on stays as long as it does.
    WaitForTask(then.RemoveSnapshot_Task(removeChildren=False))
    expect(not source.runtime.consolidationNeeded, "it is to be merged under a clone")
    WaitForTask(source.PowerOffVM_Task())
    WaitForTask(source.Destroy_Task())
    expect(peer.simulator.digest(clone, 2001) == digest, "it has lost what it stands on")
    WaitForTask(clone.PowerOnVM_Task())
    peer.simulator.guest_write(clone, 2001, 2 * MIB, MIB, seed=7)
    digest = peer.simulator.digest(clone, 2001)
    spec = vim.vm.RelocateSpec(datastore=datastore, diskMoveType="moveAllDiskBackingsAndConsolidate")
    WaitForTask(clone.RelocateVM_Task(spec))
    expect(disks_of(clone)[2001].backing.parent is None, "it is linked still")
    expect(peer.simulator.digest(clone, 2001) == digest, "the content differs")


@check
def relocate_to_another_host(peer):
    machine = peer.machine(on=True)
    hosts = [host for host in machine.runtime.host.parent.host if host != machine.runtime.host]
    expect(hosts, "its cluster has one host only")
    WaitForTask(machine.RelocateVM_Task(vim.vm.RelocateSpec(host=hosts[0])))
    expect(machine.runtime.host == hosts[0] and machine in hosts[0].vm, f"it is on {machine.runtime.host}")
