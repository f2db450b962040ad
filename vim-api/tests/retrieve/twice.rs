use vim_api::Retrieve;
use vim_api::mo::VirtualMachine;

#[derive(Retrieve)]
#[retrieve(VirtualMachine)]
pub struct Vm {
    pub name: String,
    #[retrieve(name)] //~ another field takes this property already
    pub again: String,
}
