use vim_api::dynamic::Poly;
use vim_api::mo::{HostSystem, VirtualMachine};
use vim_api::types::VirtualDevice;
use vim_api::{MoRef, Retrieve};

#[derive(Retrieve)]
#[retrieve(VirtualMachine)]
pub struct Vm {
    #[retrieve(self)]
    pub moref: MoRef<HostSystem>, //~ mismatched types
    pub name: i32, //~ a property of type `String` that is `Required` does not fit into a field of type `i32`
    #[retrieve(config.hardware.device)]
    pub devices: Vec<Poly<VirtualDevice>>, //~ that is `Optional` does not fit into a field of type `Vec<Poly<VirtualDevice>>`
    #[retrieve(config.change_tracking_enabled)]
    pub cbt: bool, //~ a property of type `bool` that is `Optional` does not fit into a field of type `bool`
    #[retrieve(summary.config.num_cpu)]
    pub cpus: Option<i64>, //~ a property of type `i32` that is `Optional` does not fit into a field of type `Option<i64>`
}
