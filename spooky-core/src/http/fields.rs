//! A field section: names and values in order, in one piece of memory.

/// Set where a name ends if the field must never be indexed.
const NEVER: u32 = 1 << 31;

/// Name and value pairs in the order in which they came or will be sent.
///
/// All bytes stand in one buffer, so that a head costs two allocations, however many
/// fields it has. Nothing is checked here; heads are, see [`super::head`].
#[derive(Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    /// Where each field's name ends, and where its value does. It begins where the
    /// one before ended. Sections are bounded far below 2 GiB; see also [`NEVER`].
    ends: Vec<(u32, u32)>,
}

impl Fields {
    /// An empty section with room for `fields` fields of `bytes` bytes together.
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Fields {
            bytes: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(fields),
        }
    }

    /// Adds a field at the end.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(name);
        let name_end = self.bytes.len() as u32;
        self.bytes.extend_from_slice(value);
        self.ends.push((name_end, self.bytes.len() as u32));
    }

    /// Where the bytes of the next field go, name first: for who reads them from
    /// somewhere straight to their place. [`Fields::close`] makes them a field.
    pub(crate) fn open(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What was appended since the last field is one; its name ends at `name_end`.
    pub(crate) fn close(&mut self, name_end: usize) {
        self.ends.push((name_end as u32, self.bytes.len() as u32));
    }

    /// The last field came as one that must never be indexed: whoever sends it on must
    /// write it as a literal too (RFC 9204 section 4.5.4).
    pub(crate) fn never_index_last(&mut self) {
        if let Some((name_end, _)) = self.ends.last_mut() {
            *name_end |= NEVER;
        }
    }

    /// The same of all fields of this name. For rare occasions.
    pub(crate) fn never_index(&mut self, name: &[u8]) {
        for index in 0..self.len() {
            if self.get(index).0 == name {
                self.ends[index].0 |= NEVER;
            }
        }
    }

    /// The field must never be indexed.
    pub(crate) fn is_never_indexed(&self, index: usize) -> bool {
        self.ends[index].0 & NEVER != 0
    }

    /// Drops the fields that `keep` says no to.
    pub(crate) fn retain(&mut self, keep: impl Fn(&[u8], &[u8]) -> bool) {
        let all = std::mem::take(self);
        for (index, (name, value)) in all.iter().enumerate() {
            if keep(name, value) {
                self.push(name, value);
                if all.is_never_indexed(index) {
                    self.never_index_last();
                }
            }
        }
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// There is no field.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Name and value of the field at `index`.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn get(&self, index: usize) -> (&[u8], &[u8]) {
        let start = match index.checked_sub(1) {
            Some(before) => self.ends[before].1 as usize,
            None => 0,
        };
        let (name_end, end) = self.ends[index];
        let (name_end, end) = ((name_end & !NEVER) as usize, end as usize);
        (&self.bytes[start..name_end], &self.bytes[name_end..end])
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |&(name_end, end)| {
            let (from, name_end, end) = (start, (name_end & !NEVER) as usize, end as usize);
            start = end;
            (&self.bytes[from..name_end], &self.bytes[name_end..end])
        })
    }

    /// The value of the first field of this name, which is in lower case.
    pub fn find(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// Size as RFC 9114 section 4.2.2 counts it: names, values, and 32 a field.
    pub fn section_bytes(&self) -> u64 {
        self.bytes.len() as u64 + 32 * self.ends.len() as u64
    }

    /// Forgets all fields and keeps their memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// The same names and values in the same order, however they came.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Fields {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(iter: T) -> Self {
        let mut fields = Fields::default();
        for (name, value) in iter {
            fields.push(name.as_ref(), value.as_ref());
        }
        fields
    }
}

impl std::fmt::Debug for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes);
        f.debug_map()
            .entries(self.iter().map(|(n, v)| (text(n), text(v))))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order() {
        let list = [("a", "1"), ("", ""), ("b", ""), ("a", "22")];
        let fields = Fields::from_iter(list);
        assert_eq!(fields.len(), 4);
        let pairs: Vec<_> = fields.iter().collect();
        for (index, (name, value)) in list.iter().enumerate() {
            assert_eq!(pairs[index], (name.as_bytes(), value.as_bytes()));
            assert_eq!(fields.get(index), pairs[index]);
        }
        assert_eq!(fields.find(b"a"), Some(&b"1"[..]));
        assert_eq!(fields.find(b"c"), None);
        assert_eq!(fields.section_bytes(), 3 + 3 + 4 * 32);
        let mut marked = fields.clone();
        marked.never_index(b"a");
        let never: Vec<bool> = (0..4).map(|n| marked.is_never_indexed(n)).collect();
        assert_eq!(never, [true, false, false, true]);
        assert_eq!(marked, fields);
        assert_eq!(marked.get(0), fields.get(0));
        marked.retain(|name, _| name != b"");
        assert_eq!(marked.len(), 3);
        assert!(marked.is_never_indexed(2) && !marked.is_never_indexed(1));
        let mut cleared = fields;
        cleared.clear();
        assert!(cleared.is_empty() && cleared == Fields::default());
    }
}
