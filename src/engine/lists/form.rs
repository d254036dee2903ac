//! A list in either form: a listpack in its record while it is short, a chain of them when it is long.
//!
//! When which is Redis 7.2's rule: what would not fit into one listpack by `list-max-listpack-size`
//! becomes long before it grows, and short again once it has shrunk to half of that.
//!
//! Not here: arguments and replies (`lists.rs`).

use crate::types::list::{End, Fill, List};
use crate::types::object::{Body, Object};
use crate::types::packed::{self, Item, Needle, Packed};
use crate::types::record::Encoding;
use crate::types::store::ValueRef;
use std::ops::ControlFlow;

/// A list to be read.
#[derive(Clone, Copy)]
pub(crate) enum Form<'a> {
    Short(Packed<'a>),
    Long(&'a List),
}

impl<'a> Form<'a> {
    /// A value that is a list.
    pub fn of(value: ValueRef<'a>) -> Self {
        match value.object() {
            Some(Object::List(list)) => Self::Long(list),
            _ => Self::Short(Packed::new(value.bytes())),
        }
    }

    pub fn of_body(body: &'a Body) -> Self {
        match body {
            Body::Object(Object::List(list)) => Self::Long(list),
            Body::Object(_) => panic!("the kind was looked at"),
            Body::Packed(_, bytes) => Self::Short(Packed::new(bytes)),
        }
    }

    pub fn len(self) -> usize {
        match self {
            Self::Short(packed) => packed.len(),
            Self::Long(list) => list.len(),
        }
    }

    pub fn get(self, index: usize) -> Option<Item<'a>> {
        match self {
            Self::Short(packed) => packed.seek(i64::try_from(index).ok()?).map(|at| packed.get(at)),
            Self::Long(list) => list.get(index),
        }
    }

    pub fn at_end(self, end: End) -> Option<Item<'a>> {
        match end {
            End::Left => self.get(0),
            End::Right => self.get(self.len().checked_sub(1)?),
        }
    }

    /// Elements from an index on, forwards or backwards, until `each` says `Break`.
    pub fn visit(
        self,
        from: usize,
        backwards: bool,
        mut each: impl FnMut(Item<'a>) -> ControlFlow<()>,
    ) {
        let packed = match self {
            Self::Short(packed) => packed,
            Self::Long(list) => return list.visit(from, backwards, each),
        };
        let at = i64::try_from(from).ok().and_then(|index| packed.seek(index));
        let mut items = if backwards { packed.iter_back_from(at) } else { packed.iter_from(at) };
        // What stopped it is the visitor's business.
        let _ = items.try_for_each(&mut each);
    }

    /// The index of the first element that is `needle`.
    pub fn position(self, needle: Needle<'_>) -> Option<usize> {
        let (mut index, mut found) = (0, None);
        self.visit(0, false, |item| {
            if item.is(needle) {
                found = Some(index);
                return ControlFlow::Break(());
            }
            index += 1;
            ControlFlow::Continue(())
        });
        found
    }
}

/// A list without elements.
pub(crate) fn short() -> Body {
    Body::Packed(Encoding::PackedList, packed::empty())
}

/// Makes a short list long that has no room for so much more.
pub(crate) fn make_room(body: &mut Body, bytes: usize, count: usize, fill: Fill) {
    if let Body::Packed(_, packed) = body
        && !fill.allows(packed.len() + bytes, Packed::new(packed).len() + count)
    {
        let list = List::of_packed(std::mem::take(packed));
        *body = Body::Object(Object::List(list));
    }
}

/// Makes a long list short that has shrunk enough.
fn settle(body: &mut Body, fill: Fill) {
    if let Body::Object(Object::List(list)) = body
        && let Some(bytes) = list.as_short(fill)
    {
        *body = Body::Packed(Encoding::PackedList, bytes.to_vec());
    }
}

/// Adds elements at an end, one after the other; the new length.
pub(crate) fn push<'a>(
    body: &mut Body,
    end: End,
    texts: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    fill: Fill,
) -> usize {
    let bytes = texts.clone().map(<[u8]>::len).sum();
    make_room(body, bytes, texts.len(), fill);
    match body {
        Body::Packed(_, packed) => {
            for text in texts {
                let at = match end {
                    End::Left => Packed::new(packed).first(),
                    End::Right => None,
                };
                packed::insert(packed, at.unwrap_or(packed.len() - 1), text);
            }
        }
        Body::Object(object) => {
            let list = long(object);
            texts.for_each(|text| list.push(end, text, fill));
        }
    }
    body.len()
}

/// Takes up to `count` elements off an end, and shows each.
pub(crate) fn pop(
    body: &mut Body,
    end: End,
    count: usize,
    fill: Fill,
    mut each: impl FnMut(Item<'_>),
) {
    match body {
        Body::Packed(_, bytes) => {
            let packed = Packed::new(bytes);
            let from = match end {
                End::Left => {
                    packed.iter().take(count).for_each(each);
                    packed.first()
                }
                End::Right => {
                    let mut items = packed.iter_back();
                    let mut from = None;
                    for _ in 0..count {
                        let at = items.offset();
                        let Some(item) = items.next() else { break };
                        each(item);
                        from = at;
                    }
                    from
                }
            };
            if let Some(at) = from {
                packed::remove(bytes, at, count);
            }
        }
        Body::Object(object) => {
            long(object).pop(end, count, each);
            settle(body, fill);
        }
    }
}

/// Takes `element` off one end and puts it at the other, or the same.
pub(crate) fn rotate(body: &mut Body, from: End, to: End, element: &[u8], fill: Fill) {
    pop(body, from, 1, fill, |_| {});
    push(body, to, std::iter::once(element), fill);
}

/// Overwrites an element that is there.
pub(crate) fn set(body: &mut Body, index: usize, text: &[u8], fill: Fill) {
    match body {
        Body::Packed(_, bytes) => {
            let at = i64::try_from(index).ok().and_then(|it| Packed::new(bytes).seek(it));
            if let Some(at) = at {
                packed::replace(bytes, at, text);
            }
        }
        Body::Object(object) => {
            long(object).set(index, text, fill);
            settle(body, fill);
        }
    }
}

/// Inserts before the element of this index, or at the end.
pub(crate) fn insert(body: &mut Body, index: usize, text: &[u8], fill: Fill) {
    match body {
        Body::Packed(_, bytes) => {
            let at = i64::try_from(index).ok().and_then(|it| Packed::new(bytes).seek(it));
            packed::insert(bytes, at.unwrap_or(bytes.len() - 1), text);
        }
        Body::Object(object) => long(object).insert(index, text, fill),
    }
}

/// Keeps `len` elements from `start` on; what is to be freed of the rest.
pub(crate) fn trim(body: &mut Body, start: usize, len: usize, fill: Fill) -> Vec<Object> {
    match body {
        Body::Packed(_, bytes) => {
            let seek = |bytes: &Vec<u8>, index: usize| {
                i64::try_from(index).ok().and_then(|it| Packed::new(bytes).seek(it))
            };
            if let Some(at) = seek(bytes, start.saturating_add(len)) {
                packed::remove(bytes, at, usize::MAX);
            }
            let first = seek(bytes, 0);
            if let Some(at) = first {
                packed::remove(bytes, at, start);
            }
            Vec::new()
        }
        Body::Object(object) => {
            let rests = long(object).trim(start, len);
            settle(body, fill);
            rests.into_iter().filter(|it| !it.is_empty()).map(Object::List).collect()
        }
    }
}

/// Removes up to `count` elements that are `text`, from an end on; how many.
pub(crate) fn remove(body: &mut Body, text: &[u8], count: usize, from: End, fill: Fill) -> usize {
    match body {
        Body::Packed(_, bytes) => {
            // As a list of one listpack, which it may stay or not.
            let mut list = List::of_packed(std::mem::take(bytes));
            let removed = list.remove(text, count, from);
            *bytes = list.pack(0).map_or_else(packed::empty, <[u8]>::to_vec);
            removed
        }
        Body::Object(object) => {
            let removed = long(object).remove(text, count, from);
            if removed > 0 {
                settle(body, fill);
            }
            removed
        }
    }
}

fn long(object: &mut Object) -> &mut List {
    match object {
        Object::List(list) => list,
        _ => panic!("the kind was looked at"),
    }
}
