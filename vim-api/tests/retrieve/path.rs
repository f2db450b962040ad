use vim_api::Retrieve;
use vim_api::dynamic::Poly;
use vim_api::mo::VirtualMachine;
use vim_api::types::VirtualDevice;

#[derive(Retrieve)]
#[retrieve(VirtualMachine)]
pub struct Vm {
    pub nam: String, //~ no associated item named `NAM`
    #[retrieve(confg.hardware)] //~ no associated item named `CONFG`
    pub hardware: Option<String>,
    #[retrieve(config.hardwre.device)] //~ no method named `hardwre`
    pub devices: Option<Vec<Poly<VirtualDevice>>>,
    #[retrieve(config.hardware.device.backing)] //~ no method named `backing`
    pub backing: Option<String>,
    #[retrieve(config.hardware.device["one"])] //~ mismatched types
    pub device: Option<Poly<VirtualDevice>>,
    #[retrieve(config.npiv_node_world_wide_name[1])] //~ no method named `at`
    pub node: Option<i64>,
}
