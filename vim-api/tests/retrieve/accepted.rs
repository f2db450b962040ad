#![deny(warnings)]

use vim_api::dynamic::{Poly, Value};
use vim_api::mo::{HostSystem, ManagedEntity, Task, VirtualMachine};
use vim_api::types::{ManagedEntityStatus, OptionValue, TaskInfoState, VirtualDevice, VirtualMachineConfigInfo};
use vim_api::{MoRef, Retrieve};

#[derive(Debug, Clone, Retrieve)]
#[retrieve(VirtualMachine)]
pub struct Vm {
    #[retrieve(self)]
    pub moref: MoRef<VirtualMachine>,
    pub name: String,
    pub parent: Option<MoRef<ManagedEntity>>,
    // Sure to be set, and taken as an Option all the same.
    pub overall_status: Option<ManagedEntityStatus>,
    // The whole and a part of it.
    pub config: Option<VirtualMachineConfigInfo>,
    #[retrieve(config.change_tracking_enabled)]
    pub cbt: Option<bool>,
    #[retrieve(config.hardware.device)]
    pub devices: Option<Vec<Poly<VirtualDevice>>>,
    #[retrieve(config.hardware.device[2000].device_info.label)]
    pub label: Option<String>,
    #[retrieve(config.extra_config["guestinfo.owner"])]
    pub owner: Option<Poly<OptionValue>>,
    #[retrieve(summary.config.num_cpu)]
    pub cpus: Option<i32>,
    pub recent_task: Vec<MoRef<Task>>,
}

#[derive(Retrieve)]
#[retrieve(vim_api::mo::Task)]
pub struct TaskState {
    #[retrieve(info.state)]
    pub state: TaskInfoState,
    #[retrieve(info.result)]
    pub result: Option<Value>,
    #[retrieve(info.progress)]
    pub progress: Option<i32>,
}

#[derive(Retrieve)]
#[retrieve(HostSystem)]
pub struct Nothing {}

pub fn paths() -> Vec<String> {
    let mut paths = Vm::paths();
    paths.extend(TaskState::paths());
    paths.extend(Nothing::paths());
    paths
}
