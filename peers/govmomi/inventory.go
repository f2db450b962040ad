package main

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/event"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

var inventoryChecks = []check{
	{"session", checkSession},
	{"finder_lists", checkFinderLists},
	{"finder_paths", checkFinderPaths},
	{"finder_elements", checkFinderElements},
	{"search_index", checkSearchIndex},
	{"all_properties", checkAllProperties},
	{"property_wait", checkPropertyWait},
	{"property_wait_canceled", checkPropertyWaitCanceled},
	{"container_view", checkContainerView},
	{"list_view", checkListView},
	{"task_view", checkTaskView},
	{"events", checkEvents},
	{"custom_fields", checkCustomFields},
	{"folders", checkFolders},
	{"authorization", checkAuthorization},
}

func checkSession(ctx context.Context, p *peer) {
	mine, err := p.SessionManager.UserSession(ctx)
	must(err)
	expect(mine != nil && mine.UserName != "" && mine.Key != "", "the session is %+v", mine)
	active, err := p.SessionManager.SessionIsActive(ctx)
	if p.IsVC() {
		must(err)
		expect(active, "it is not active")
	} else {
		fault := refused(ctx)(nil, err)
		_, isNotImplemented := fault.(*types.NotImplemented)
		expect(isNotImplemented, "a host answers with %T", fault)
	}
	other, err := p.simulator.logIn(ctx)
	must(err)
	must(other.Logout(ctx))
	gone, err := other.SessionManager.UserSession(ctx)
	must(err)
	expect(gone == nil, "after the logout there is the session %+v", gone)
}

func checkFinderLists(ctx context.Context, p *peer) {
	finder := find.NewFinder(p.Client.Client)
	datacenters, err := finder.DatacenterList(ctx, "*")
	must(err)
	finder.SetDatacenter(datacenters[0])
	found, err := finder.VirtualMachineList(ctx, "*")
	must(err)
	expect(len(found) > 0 && strings.Contains(found[0].InventoryPath, "/vm/"), "machines: %v", found)
	hosts, err := finder.HostSystemList(ctx, "*/*")
	must(err)
	expect(len(hosts) > 0, "there are no hosts")
	stores, err := finder.DatastoreList(ctx, "*")
	must(err)
	expect(len(stores) > 0 && strings.Contains(stores[0].InventoryPath, "/datastore/"), "datastores: %v", stores)
	pools, err := finder.ResourcePoolList(ctx, "*/Resources")
	must(err)
	expect(len(pools) > 0, "there are no pools")
	if p.IsVC() {
		clusters, err := finder.ClusterComputeResourceList(ctx, "*")
		must(err)
		expect(len(clusters) > 0, "there are no clusters")
	} else {
		resources, err := finder.ComputeResourceList(ctx, "*")
		must(err)
		expect(len(resources) == 1 && resources[0].Reference().Value == "ha-compute-res", "compute resources: %v", resources)
		only, err := finder.DefaultDatacenter(ctx)
		must(err)
		expect(only.Reference().Value == "ha-datacenter", "the datacenter is %v", only)
	}
	networks, err := finder.NetworkList(ctx, "*")
	must(err)
	expect(len(networks) > 0, "there are no networks")
	folders, err := finder.FolderList(ctx, "*")
	must(err)
	expect(len(folders) >= 4, "there are %d folders", len(folders))
	below, err := finder.VirtualMachineList(ctx, datacenters[0].InventoryPath+"/vm/...")
	must(err)
	expect(len(below) >= len(found), "there are %d machines below all folders", len(below))
	children, err := finder.ManagedObjectListChildren(ctx, datacenters[0].InventoryPath)
	must(err)
	expect(len(children) == 4, "the datacenter has %d children", len(children))
}

func checkFinderPaths(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	byPath, err := p.finder.VirtualMachine(ctx, machine.InventoryPath)
	must(err)
	expect(byPath.Reference() == machine.Reference(), "%s is %v", machine.InventoryPath, byPath)
	byName, err := p.finder.VirtualMachine(ctx, machine.Name())
	must(err)
	expect(byName.Reference() == machine.Reference(), "%s is %v", machine.Name(), byName)
	_, err = p.finder.VirtualMachine(ctx, "no such machine")
	_, isNotFound := err.(*find.NotFoundError)
	expect(isNotFound, "what is not there gives %v", err)
}

func checkFinderElements(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	element, err := p.finder.Element(ctx, machine.Reference())
	must(err)
	expect(element.Path == machine.InventoryPath, "its path is %s, and was %s", element.Path, machine.InventoryPath)
	path, err := find.InventoryPath(ctx, p.Client.Client, machine.Reference())
	must(err)
	expect(path == machine.InventoryPath, "its path is %s, and was %s", path, machine.InventoryPath)
	again, err := p.finder.ObjectReference(ctx, machine.Reference())
	must(err)
	expect(again.(*object.VirtualMachine).InventoryPath == machine.InventoryPath, "%v", again)
}

func checkSearchIndex(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	config := properties(ctx, machine, "config").Config
	index := object.NewSearchIndex(p.Client.Client)
	is := func(found object.Reference, err error) {
		must(err)
		expect(found != nil && found.Reference() == machine.Reference(), "%v was found", found)
	}
	is(index.FindByUuid(ctx, nil, config.Uuid, true, types.NewBool(false)))
	is(index.FindByUuid(ctx, p.datacenter, config.InstanceUuid, true, types.NewBool(true)))
	is(index.FindByInventoryPath(ctx, machine.InventoryPath))
	is(index.FindChild(ctx, p.folders.VmFolder, machine.Name()))
	is(index.FindByDatastorePath(ctx, p.datacenter, config.Files.VmPathName))
	nobody, err := index.FindByUuid(ctx, nil, "00000000-0000-0000-0000-000000000000", true, nil)
	must(err)
	expect(nobody == nil, "%v was found", nobody)
}

// checkAllProperties reads everything that each kind of object has: govmomi's decoder refuses what does not fit its types.
func checkAllProperties(ctx context.Context, p *peer) {
	manager := view.NewManager(p.Client.Client)
	all, err := manager.CreateContainerView(ctx, p.ServiceContent.RootFolder, nil, true)
	must(err)
	defer all.Destroy(ctx)
	var entities []mo.ManagedEntity
	must(all.Retrieve(ctx, []string{"ManagedEntity"}, []string{"name", "parent"}, &entities))
	expect(len(entities) > 0, "there is nothing")
	var machines []mo.VirtualMachine
	must(all.Retrieve(ctx, []string{"VirtualMachine"}, nil, &machines))
	expect(len(machines) > 0 && machines[0].Config != nil, "there are no machines")
	var hosts []mo.HostSystem
	must(all.Retrieve(ctx, []string{"HostSystem"}, nil, &hosts))
	expect(len(hosts) > 0 && hosts[0].Summary.Hardware != nil, "the host has no hardware")
	var clusters []mo.ClusterComputeResource
	must(all.Retrieve(ctx, []string{"ClusterComputeResource"}, nil, &clusters))
	expect(!p.IsVC() || len(clusters) > 0 && clusters[0].Summary != nil, "the cluster has no summary")
	var pools []mo.ResourcePool
	must(all.Retrieve(ctx, []string{"ResourcePool"}, nil, &pools))
	expect(len(pools) > 0 && pools[0].Summary != nil, "the pool has no summary")
	var stores []mo.Datastore
	must(all.Retrieve(ctx, []string{"Datastore"}, nil, &stores))
	expect(len(stores) > 0 && stores[0].Info != nil && stores[0].Browser.Value != "", "the datastore lacks things")
	var networks []mo.Network
	must(all.Retrieve(ctx, []string{"Network"}, nil, &networks))
	var datacenters []mo.Datacenter
	must(all.Retrieve(ctx, []string{"Datacenter"}, nil, &datacenters))
	var folders []mo.Folder
	must(all.Retrieve(ctx, []string{"Folder"}, nil, &folders))
	expect(len(networks) > 0 && len(datacenters) > 0 && len(folders) > 0, "kinds are missing")
}

func checkPropertyWait(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	seen := make(chan types.VirtualMachinePowerState, 10)
	var group sync.WaitGroup
	group.Add(1)
	var failed error
	go func() {
		defer group.Done()
		collector := property.DefaultCollector(p.Client.Client)
		paths := []string{"runtime.powerState"}
		failed = property.Wait(ctx, collector, machine.Reference(), paths, func(changes []types.PropertyChange) bool {
			for _, change := range changes {
				state := change.Val.(types.VirtualMachinePowerState)
				seen <- state
				if state == types.VirtualMachinePowerStatePoweredOn {
					return true
				}
			}
			return false
		})
		close(seen)
	}()
	first := <-seen
	expect(first == types.VirtualMachinePowerStatePoweredOff, "it begins with %q", first)
	done(ctx)(machine.PowerOn(ctx))
	last := <-seen
	expect(last == types.VirtualMachinePowerStatePoweredOn, "it goes on with %q", last)
	group.Wait()
	must(failed)
	must(machine.WaitForPowerState(ctx, types.VirtualMachinePowerStatePoweredOn))
}

func checkPropertyWaitCanceled(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := property.Wait(short, property.DefaultCollector(p.Client.Client), machine.Reference(), []string{"name"},
		func([]types.PropertyChange) bool { return false })
	expect(err != nil && time.Since(began) < 20*time.Second, "after %v it ends with %v", time.Since(began), err)
}

func checkContainerView(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	all, err := view.NewManager(p.Client.Client).CreateContainerView(ctx, p.ServiceContent.RootFolder, []string{"VirtualMachine"}, true)
	must(err)
	var found []mo.VirtualMachine
	must(all.RetrieveWithFilter(ctx, []string{"VirtualMachine"}, []string{"name", "summary"}, &found, property.Filter{"name": machine.Name()}))
	expect(len(found) == 1 && found[0].Reference() == machine.Reference(), "%d were found", len(found))
	references, err := all.Find(ctx, []string{"VirtualMachine"}, property.Filter{"name": "*"})
	must(err)
	expect(len(references) >= machines/2, "%d machines were found", len(references))
	must(all.Destroy(ctx))
}

func checkListView(ctx context.Context, p *peer) {
	first, second := p.machine(ctx, false), p.machine(ctx, false)
	list, err := view.NewManager(p.Client.Client).CreateListView(ctx, []types.ManagedObjectReference{first.Reference()})
	must(err)
	must(list.Add(ctx, []types.ManagedObjectReference{second.Reference()}))
	must(list.Remove(ctx, []types.ManagedObjectReference{first.Reference()}))
	var held mo.ListView
	must(property.DefaultCollector(p.Client.Client).RetrieveOne(ctx, list.Reference(), []string{"view"}, &held))
	expect(len(held.View) == 1 && held.View[0] == second.Reference(), "it holds %v", held.View)
	must(list.Destroy(ctx))
}

func checkTaskView(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	reference := machine.Reference()
	watched, err := view.NewManager(p.Client.Client).CreateTaskView(ctx, &reference)
	must(err)
	task, err := machine.PowerOn(ctx)
	must(err)
	must(task.Wait(ctx))
	short, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	seen := false
	err = watched.Collect(short, func(infos []types.TaskInfo) {
		for _, info := range infos {
			if info.Task == task.Reference() {
				seen = true
				cancel()
			}
		}
	})
	expect(seen, "the task was not seen: %v", err)
}

func checkEvents(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	done(ctx)(machine.PowerOn(ctx))
	manager := event.NewManager(p.Client.Client)
	spec := types.EventFilterSpec{Entity: &types.EventFilterSpecByEntity{
		Entity: machine.Reference(), Recursion: types.EventFilterSpecRecursionOptionSelf,
	}}
	found, err := manager.QueryEvents(ctx, spec)
	must(err)
	on := 0
	for _, one := range found {
		if powered, ok := one.(*types.VmPoweredOnEvent); ok {
			on++
			expect(powered.Vm != nil && powered.Vm.Vm == machine.Reference(), "it is about %+v", powered.Vm)
			category, err := manager.EventCategory(ctx, one)
			must(err)
			expect(category == "info", "its category is %q", category)
		}
	}
	expect(on >= 1, "%d events, and none of them says that it was powered on", len(found))
	collector, err := manager.CreateCollectorForEvents(ctx, spec)
	must(err)
	must(manager.LogUserEvent(ctx, machine.Reference(), "govmomi says so"))
	page, err := collector.LatestPage(ctx)
	must(err)
	expect(len(page) > len(found), "the latest page has %d events", len(page))
	must(collector.Destroy(ctx))
}

func checkCustomFields(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	manager, err := object.GetCustomFieldsManager(p.Client.Client)
	must(err)
	field, err := manager.Add(ctx, "govmomi.field", "VirtualMachine", nil, nil)
	must(err)
	must(manager.Set(ctx, machine.Reference(), field.Key, "one"))
	must(machine.SetCustomValue(ctx, "govmomi.field", "two"))
	found := properties(ctx, machine, "customValue", "summary.customValue")
	expect(len(found.CustomValue) == 1 && len(found.Summary.CustomValue) == 1, "%+v", found.CustomValue)
	value, ok := found.CustomValue[0].(*types.CustomFieldStringValue)
	expect(ok && value.Value == "two" && value.Key == field.Key, "%+v", found.CustomValue[0])
	key, err := manager.FindKey(ctx, "govmomi.field")
	must(err)
	expect(key == field.Key, "its key is %d", key)
	must(manager.Remove(ctx, field.Key))
	_, err = manager.FindKey(ctx, "govmomi.field")
	expect(err == object.ErrKeyNameNotFound, "what was removed gives %v", err)
}

func checkFolders(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	made, err := p.folders.VmFolder.CreateFolder(ctx, "made by govmomi")
	must(err)
	done(ctx)(made.MoveInto(ctx, []types.ManagedObjectReference{machine.Reference()}))
	moved, err := p.finder.VirtualMachine(ctx, "made by govmomi/"+machine.Name())
	must(err)
	expect(moved.Reference() == machine.Reference(), "%v", moved)
	children, err := made.Children(ctx)
	must(err)
	expect(len(children) == 1, "%v", children)
	done(ctx)(p.folders.VmFolder.MoveInto(ctx, []types.ManagedObjectReference{machine.Reference()}))
	done(ctx)(made.Destroy(ctx))
}

func checkAuthorization(ctx context.Context, p *peer) {
	machine := p.machine(ctx, false)
	manager := object.NewAuthorizationManager(p.Client.Client)
	roles, err := manager.RoleList(ctx)
	must(err)
	expect(roles.ByName("Admin") != nil && roles.ByName("ReadOnly") != nil, "there is no Admin and ReadOnly")
	id, err := manager.AddRole(ctx, "govmomi", []string{"VirtualMachine.State.CreateSnapshot", "Authorization.ModifyPermissions"})
	must(err)
	// What is needed to come out of it again is left to us.
	given := types.Permission{Principal: user, RoleId: id, Propagate: true}
	must(manager.SetEntityPermissions(ctx, machine.Reference(), []types.Permission{given}))
	held, err := manager.RetrieveEntityPermissions(ctx, machine.Reference(), false)
	must(err)
	expect(len(held) == 1 && held[0].RoleId == id, "%+v", held)
	privileges, err := manager.FetchUserPrivilegeOnEntities(ctx, []types.ManagedObjectReference{machine.Reference()}, user)
	must(err)
	expect(len(privileges) == 1 && contains(privileges[0].Privileges, "VirtualMachine.State.CreateSnapshot"), "%+v", privileges)
	fault, ok := refused(ctx)(machine.PowerOn(ctx)).(*types.NoPermission)
	expect(ok && fault.PrivilegeId == "VirtualMachine.Interact.PowerOn", "it is refused with %+v", fault)
	must(manager.RemoveEntityPermission(ctx, machine.Reference(), held[0].Principal, false))
	must(manager.RemoveRole(ctx, id, true))
}
