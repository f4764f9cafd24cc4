//! Page-aligned memory for socket input: the kernel copies into it several times faster than into the middle of a page.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use bytes::Bytes;

/// Alignment of every [`AlignedBuffer`], in bytes.
pub const PAGE_BYTES: usize = 4096;

/// A fixed block of page-aligned memory, filled from the front and then shared as `Bytes`.
#[derive(Debug)]
pub struct AlignedBuffer {
    memory: NonNull<u8>,
    layout: Layout,
    filled: usize,
}

// SAFETY: the memory is owned by the value alone and plain bytes.
unsafe impl Send for AlignedBuffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// A zeroed buffer of at least `capacity` bytes, rounded up to whole pages.
    ///
    /// # Panics
    /// If `capacity` is within a page of `isize::MAX`.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let size = capacity.max(1).next_multiple_of(PAGE_BYTES);
        let layout = Layout::from_size_align(size, PAGE_BYTES).expect("a request is far smaller than memory");
        // SAFETY: the layout is not empty.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout) });
        let Some(memory) = memory else { handle_alloc_error(layout) };
        Self { memory, layout, filled: 0 }
    }

    /// Bytes that fit in all.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.layout.size()
    }

    /// Bytes filled so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.filled
    }

    /// Whether nothing was filled yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// The part that is not filled yet, to read into; call [`AlignedBuffer::advance`] after.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        // SAFETY: filled <= capacity, the memory is initialised (zeroed) and borrowed exclusively.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.memory.as_ptr().add(self.filled),
                self.layout.size() - self.filled,
            )
        }
    }

    /// Counts `bytes` of the spare part as filled. Counts no more than there is.
    pub fn advance(&mut self, bytes: usize) {
        self.filled = self.filled.saturating_add(bytes).min(self.layout.size());
    }

    /// Shares the filled part; slices of it keep the whole buffer alive.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: filled <= capacity, and the memory is initialised.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.filled) }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `with_capacity` with this layout.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_page_aligned_and_shares_what_was_filled() {
        let mut buffer = AlignedBuffer::with_capacity(5000);
        assert_eq!(buffer.capacity(), 8192);
        buffer.spare_mut()[..3].copy_from_slice(b"abc");
        buffer.advance(3);
        buffer.spare_mut()[..2].copy_from_slice(b"de");
        buffer.advance(2);
        let bytes = buffer.freeze();
        assert_eq!(bytes, b"abcde"[..]);
        assert_eq!(bytes.as_ptr() as usize % PAGE_BYTES, 0);
        let tail = bytes.slice(3..);
        drop(bytes);
        assert_eq!(tail, b"de"[..]);
    }
}
