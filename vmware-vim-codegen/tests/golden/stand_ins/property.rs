//! Properties as a path and the type of the value.

use std::marker::PhantomData;

pub struct Property<M, T> {
    pub path: &'static str,
    types: PhantomData<fn() -> (M, T)>,
}

impl<M, T> Property<M, T> {
    pub(crate) const fn new(path: &'static str) -> Self {
        Self { path, types: PhantomData }
    }
}
