use vim_api::Retrieve;
use vim_api::mo::VirtualMachine;

#[derive(Retrieve)]
#[retrieve(VirtualMachine)]
pub struct Vm {
    #[retrieve("config.name")] //~ not a property path: write the fields as Rust names them
    pub name: Option<String>,
}
