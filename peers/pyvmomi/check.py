#!/usr/bin/env python3
"""A third party against vsphere-sim: VMware's own Python client, unmodified.

Starts the simulator, and goes the way of an incremental backup with nothing but pyvmomi's public calls: log in, find
the machines, switch change tracking on, take a snapshot, let the guest write, take another snapshot, and page
QueryChangedDiskAreas until the pages cover the disk. What comes back is compared with what was written. Any
disagreement is an exception, and the exit status is then 1.

pyvmomi's parser is strict: a missing required field, an empty enum or a wrong xsi:type in any answer fails the run.

usage: check.py PATH-OF-VSPHERE-SIM        (pip install -r requirements.txt)
"""

import ssl
import sys
import tempfile
import time

from pyVim.connect import Disconnect
from pyVim.task import WaitForTask
from pyVmomi import SoapStubAdapter, pbm, vim, vmodl, vslm

from simulator import Simulator, expect, expect_fault

MACHINES = 2
SECTOR = 512
# More areas than one answer of QueryChangedDiskAreas may hold, so that the paging is exercised.
WRITES = 2100


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__.splitlines()[-1])
    with tempfile.TemporaryDirectory() as data, Simulator(sys.argv[1], data, "--vms", str(MACHINES)) as simulator:
        refuses_a_wrong_password(simulator)
        service = simulator.log_in()
        try:
            content = service.RetrieveContent()
            machine = list_machines(simulator, content)[0]
            power_on(machine)
            enable_change_tracking(machine)
            follow_changes(simulator, content, machine)
            if not simulator.is_host:
                # Services beside the API, which only a vCenter has.
                read_policies(simulator, service, machine)
                follow_a_disk(simulator, service)
        finally:
            Disconnect(service)
        logged_out(service)
    print("pyvmomi: agrees with vsphere-sim")


def refuses_a_wrong_password(simulator):
    expect_fault(vim.fault.InvalidLogin, lambda: simulator.log_in("not " + simulator.password))


def list_machines(simulator, content):
    """By attribute access (one Fetch for each attribute), by RetrieveContents and by RetrievePropertiesEx."""
    wanted = "HostAgent" if simulator.is_host else "VirtualCenter"
    expect(content.about.apiType == wanted, f"apiType is {content.about.apiType}")
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    machines = list(view.view)
    by_attribute = sorted(machine.name for machine in machines)
    expect(len(by_attribute) == MACHINES, f"{MACHINES} machines were asked for, listed are {by_attribute}")

    collector = vmodl.query.PropertyCollector
    walk = collector.TraversalSpec(name="view", path="view", skip=False, type=vim.view.ContainerView)
    spec = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[walk])],
        propSet=[collector.PropertySpec(type=vim.VirtualMachine, pathSet=["name", "runtime.powerState"], all=False)],
    )
    retrieved = content.propertyCollector.RetrieveContents([spec])
    expect(names_of(retrieved) == by_attribute, "RetrieveContents lists other machines than attribute access")

    paged, pages = [], 1
    result = content.propertyCollector.RetrievePropertiesEx([spec], collector.RetrieveOptions(maxObjects=1))
    paged += result.objects
    while result.token:
        result = content.propertyCollector.ContinueRetrievePropertiesEx(result.token)
        paged += result.objects
        pages += 1
    expect(names_of(paged) == by_attribute, "RetrievePropertiesEx lists other machines than attribute access")
    expect(pages == MACHINES, f"one object a page was asked for, {pages} pages came")
    view.Destroy()
    for machine in machines:
        # Reads every nested object there is, so that the strict parser sees the whole configuration.
        expect(machine.config.uuid and machine.config.instanceUuid, f"{machine.name} has no uuids")
        expect(machine.summary.config.name == machine.name, "summary and object disagree on the name")
        expect(machine.snapshot is None, f"{machine.name} has a snapshot from the start")
    print(f"pyvmomi: machines {by_attribute}")
    return machines


def names_of(objects):
    return sorted(prop.val for found in objects for prop in found.propSet if prop.name == "name")


def power_on(machine):
    if machine.runtime.powerState != vim.VirtualMachine.PowerState.poweredOn:
        WaitForTask(machine.PowerOnVM_Task())
    expect(machine.runtime.powerState == vim.VirtualMachine.PowerState.poweredOn, "the machine is not on")


def enable_change_tracking(machine):
    expect(machine.capability.changeTrackingSupported, "change tracking is not supported")
    WaitForTask(machine.ReconfigVM_Task(vim.vm.ConfigSpec(changeTrackingEnabled=True)))
    expect(machine.config.changeTrackingEnabled, "change tracking was switched on and is off")
    # Tracking begins when the machine is next stunned, for which a snapshot is enough.
    remove(take_snapshot(machine, "stun"))


def follow_changes(simulator, content, machine):
    first = take_snapshot(machine, "first")
    before = disks_of(first)
    key, disk = next(iter(before.items()))
    grain_step = disk.capacityInBytes // WRITES // SECTOR * SECTOR
    written = [(number * grain_step, SECTOR) for number in range(WRITES)]
    for number, (offset, length) in enumerate(written):
        simulator.guest_write(machine, key, offset, length, seed=number)

    second = take_snapshot(machine, "second")
    after = disks_of(second)
    expect(list(before) == list(after), "the snapshots have different disks")
    changed = query_all(machine, second, after[key], before[key].backing.changeId)
    check_cover(changed, written, disk.capacityInBytes, grain_step)
    for other in [k for k in before if k != key]:
        untouched = query_all(machine, second, after[other], before[other].backing.changeId)
        expect(untouched == [], f"disk {other} was not written and has {len(untouched)} changed areas")
    nothing = query_all(machine, second, after[key], after[key].backing.changeId)
    expect(nothing == [], "a snapshot differs from itself")
    allocated = query_all(machine, second, after[key], "*")
    check_inside(written, allocated)
    refuses_bad_ids(machine, second, after[key])
    remove(first)
    remove(second)
    expect(machine.snapshot is None, "a snapshot is left")
    expect(not machine.runtime.consolidationNeeded, "the disks need consolidation")
    tasks = [task.info.state for task in content.taskManager.recentTask]
    expect(all(state == vim.TaskInfo.State.success for state in tasks), f"a task did not succeed: {tasks}")


def beside(service, path, version):
    """The way that VMware's samples reach a service beside the API: its path, and our session's id in the SOAP header."""
    session = service._stub.cookie.split("=", 1)[1].split(";")[0].strip('"')
    context = {"vcSessionCookie": session}
    host, port = service._stub.host.rsplit(":", 1)
    return SoapStubAdapter(host=host, port=int(port), path=path, version=version, requestContext=context,
                           sslContext=ssl._create_unverified_context())


def read_policies(simulator, service, machine):
    policy = simulator.tell("storage-policies", name="Gold", description="fast", vm=machine._moId, disk=2000)["id"]
    stub = beside(service, "/pbm/sdk", "pbm.version.v8_0_3_0")
    manager = pbm.ServiceInstance("ServiceInstance", stub).RetrieveContent().profileManager
    storage = pbm.profile.ResourceType(resourceType="STORAGE")
    ids = manager.PbmQueryProfile(resourceType=storage, profileCategory="REQUIREMENT")
    expect([found.uniqueId for found in ids] == [policy], f"{policy} was made, {ids} are known")
    profile = manager.PbmRetrieveContent(profileIds=ids)[0]
    expect(isinstance(profile, pbm.profile.CapabilityBasedProfile) and profile.name == "Gold", f"{profile}")
    disk = pbm.ServerObjectRef(objectType="virtualDiskId", key=f"{machine._moId}:2000")
    home = pbm.ServerObjectRef(objectType="virtualMachine", key=machine._moId)
    found = manager.PbmQueryAssociatedProfiles(entities=[home, disk])
    expect([(one.object.key, one.profileId[0].uniqueId) for one in found] == [(disk.key, policy)], f"{found}")
    stranger = beside(service, "/pbm/sdk", "pbm.version.v8_0_3_0")
    stranger.requestContext = {"vcSessionCookie": "nobody"}
    known = pbm.ServiceInstance("ServiceInstance", stranger).RetrieveContent().profileManager
    expect_fault(vim.fault.NotAuthenticated, lambda: known.PbmQueryProfile(resourceType=storage))
    print("pyvmomi: a storage policy is read, and found on its disk")


def follow_a_disk(simulator, service):
    mebibyte, capacity = 1 << 20, 64 << 20
    name = simulator.tell("first-class-disks", name="pvc-1", capacity=capacity)["id"]
    stub = beside(service, "/vslm/sdk", "vslm.version.v7_0_2_0")
    manager = vslm.ServiceInstance("ServiceInstance", stub).RetrieveContent().vStorageObjectManager
    listed = manager.VslmListVStorageObjectForSpec(query=[], maxResult=10)
    expect(listed.allRecordsReturned and [one.id for one in listed.id] == [name], f"{listed}")
    disk = vim.vslm.ID(id=name)
    backing = manager.VslmRetrieveVStorageObject(id=disk).config.backing
    expect(isinstance(backing, vim.vslm.BaseConfigInfo.DiskFileBackingInfo), f"the backing is {backing}")
    manager.VslmSetVStorageObjectControlFlags(id=disk, controlFlags=["enableChangedBlockTracking"])
    first = disk_snapshot(manager, disk)
    since = manager.VslmRetrieveSnapshotDetails(id=disk, snapshotId=first).changedBlockTrackingId
    simulator.tell("first-class-disks/write", id=name, offset=5 * mebibyte, length=mebibyte, seed=1)
    second = disk_snapshot(manager, disk)
    page = manager.VslmQueryChangedDiskAreas(id=disk, snapshotId=second, startOffset=0, changeId=since)
    expect(page.startOffset == 0 and page.length == capacity, "one page has to cover the disk")
    changed = sum(area.length for area in page.changedArea)
    check_inside([(5 * mebibyte, mebibyte)], [(area.start, area.length) for area in page.changedArea])
    expect(changed < capacity // 2, f"{changed} bytes are said to have changed")
    print(f"pyvmomi: a first-class disk with 1 MiB written, {changed} bytes said to be changed")


def disk_snapshot(manager, disk):
    task = manager.VslmCreateSnapshot_Task(id=disk, description="peer check")
    deadline = time.monotonic() + 60
    while task.VslmQueryInfo().state not in ("success", "error"):
        expect(time.monotonic() < deadline, "the snapshot takes more than a minute")
        time.sleep(0.05)
    return task.VslmQueryTaskResult()


def take_snapshot(machine, name):
    task = machine.CreateSnapshot_Task(name=name, description="peer check", memory=False, quiesce=False)
    WaitForTask(task)
    snapshot = task.info.result
    expect(isinstance(snapshot, vim.vm.Snapshot), f"the task's result is {snapshot!r}")
    return snapshot


def remove(snapshot):
    WaitForTask(snapshot.RemoveSnapshot_Task(removeChildren=False))


def disks_of(snapshot):
    disks = {d.key: d for d in snapshot.config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk)}
    expect(disks, "the snapshot has no disks")
    for key, disk in disks.items():
        expect(disk.backing.changeId, f"disk {key} of the snapshot has no changeId")
    return disks


def query_all(machine, snapshot, disk, change_id):
    """All areas, page by page. A page must begin where it was asked to, move on, and keep its areas inside."""
    areas, offset, pages = [], 0, 0
    while offset < disk.capacityInBytes:
        page = machine.QueryChangedDiskAreas(snapshot, disk.key, offset, change_id)
        expect(page.startOffset == offset, f"asked for {offset}, the page begins at {page.startOffset}")
        expect(page.length > 0, f"the page at {offset} is empty")
        end = page.startOffset + page.length
        for area in page.changedArea:
            expect(area.length > 0 and offset <= area.start and area.start + area.length <= end,
                   f"area {area.start}+{area.length} lies outside its page {page.startOffset}+{page.length}")
            expect(not areas or areas[-1][0] + areas[-1][1] <= area.start, "the areas are not in order")
            areas.append((area.start, area.length))
        offset, pages = end, pages + 1
    expect(offset == disk.capacityInBytes, f"the pages end at {offset}, the disk at {disk.capacityInBytes}")
    print(f"pyvmomi: disk {disk.key} since {change_id}: {len(areas)} areas in {pages} pages")
    if len(areas) > 2000:
        expect(pages > 1, f"{len(areas)} areas came in one page")
    return areas


def check_cover(changed, written, capacity, step):
    expect(changed, "the guest wrote and nothing changed")
    check_inside(written, changed)
    total = sum(length for _, length in changed)
    # An area may be wider than what was written, but a disk of which one sector in many was written is not all new.
    expect(total < capacity, "every byte of the disk is said to have changed")
    print(f"pyvmomi: {sum(l for _, l in written)} bytes written every {step}, {total} of {capacity} said to be changed")


def check_inside(wanted, areas):
    """Both lists are sorted; each wanted range must lie inside one area or a run of touching ones."""
    merged = []
    for start, length in areas:
        if merged and merged[-1][1] == start:
            merged[-1][1] = start + length
        else:
            merged.append([start, start + length])
    position = 0
    for start, length in wanted:
        while position < len(merged) and merged[position][1] <= start:
            position += 1
        inside = position < len(merged) and merged[position][0] <= start and start + length <= merged[position][1]
        expect(inside, f"{start}+{length} was written and is in no area")


def refuses_bad_ids(machine, snapshot, disk):
    def query(change_id, key=disk.key, offset=0):
        return lambda: machine.QueryChangedDiskAreas(snapshot, key, offset, change_id)

    good = disk.backing.changeId
    foreign = ("00" if not good.startswith("00") else "11") + good[2:]
    expect_fault(vim.fault.FileFault, query(foreign))
    expect_fault(vmodl.fault.InvalidArgument, query("no such id"))
    expect_fault(vmodl.fault.InvalidArgument, query(good, key=1))
    expect_fault(vmodl.fault.InvalidArgument, query(good, offset=disk.capacityInBytes))


def logged_out(service):
    expect_fault(vim.fault.NotAuthenticated, lambda: service.CurrentTime())


if __name__ == "__main__":
    main()
