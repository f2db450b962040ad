//! Gives the shared library the name for itself that a kit's has; `install_version` changes the number in it.

fn main() {
    println!("cargo::rustc-link-arg-cdylib=-Wl,-soname,libvixDiskLib.so.8");
    println!("cargo::rerun-if-changed=build.rs");
}
