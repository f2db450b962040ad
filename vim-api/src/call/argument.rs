use crate::dynamic::Element;
use crate::xml::Writer;

/// What a stub takes as an argument.
pub(crate) trait Argument {
    fn write(&self, name: &str, writer: &mut Writer);
}

impl Argument for &str {
    fn write(&self, name: &str, writer: &mut Writer) {
        writer.open(name);
        writer.text(self);
        writer.close(name);
    }
}

macro_rules! by_value {
    ($($type:ty)*) => { $(
        impl Argument for $type {
            fn write(&self, name: &str, writer: &mut Writer) {
                self.encode(name, writer);
            }
        }
    )* };
}
by_value!(bool i8 i16 i32 i64 f32 f64);

impl<T: Element> Argument for &T {
    fn write(&self, name: &str, writer: &mut Writer) {
        (**self).encode(name, writer);
    }
}

impl<T: Element> Argument for &[T] {
    fn write(&self, name: &str, writer: &mut Writer) {
        for item in *self {
            item.encode(name, writer);
        }
    }
}

impl<A: Argument> Argument for Option<A> {
    fn write(&self, name: &str, writer: &mut Writer) {
        if let Some(argument) = self {
            argument.write(name, writer);
        }
    }
}
