//! Calls that are written and never sent.

use std::marker::PhantomData;

use crate::arguments::argument::Argument;
use crate::dynamic::MethodInfo;
use crate::mo::Handle;
use crate::version::ApiVersion;
use crate::xml::Writer;

pub struct Call<R> {
    pub request: String,
    pub method: &'static MethodInfo,
    returns: PhantomData<R>,
}

pub struct Task<R>(PhantomData<R>);

pub struct CallBuilder {
    writer: Writer,
    method: &'static MethodInfo,
    next: usize,
}

impl CallBuilder {
    pub fn to(object: &Handle, method: &'static MethodInfo) -> Self {
        let mut writer = Writer::new(ApiVersion::LATEST);
        crate::dynamic::Element::encode(&object.moref, "_this", &mut writer);
        Self { writer, method, next: 0 }
    }

    pub(crate) fn arg(mut self, argument: impl Argument) -> Self {
        argument.write(self.method.params[self.next].name, &mut self.writer);
        self.next += 1;
        self
    }

    pub fn end<R>(self) -> Call<R> {
        assert_eq!(self.next, self.method.params.len(), "{} was given too few arguments", self.method.name);
        Call { request: self.writer.finish(), method: self.method, returns: PhantomData }
    }
}
