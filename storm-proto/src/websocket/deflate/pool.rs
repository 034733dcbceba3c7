//! Engines that wait for their next message.
//!
//! Making one takes as long as compressing a short message. Each thread keeps a few, so no
//! lock is taken; a connection has one only while a message needs it.

use std::cell::RefCell;
use std::vec::Vec;

use zlib_rs::Inflate as Engine;

use super::compress::Compressor;

/// Compressors kept by a thread, 162 to 288 KiB each. They are used one at a time; more
/// than one is for servers with several settings.
pub(crate) const COMPRESSORS: usize = 2;

/// Inflating engines kept by a thread, 47 KiB each: messages that are under way at once on
/// the connections of a thread are few.
pub(crate) const ENGINES: usize = 4;

std::thread_local! {
    static POOL: RefCell<Pool> =
        const { RefCell::new(Pool { compressors: Vec::new(), engines: Vec::new() }) };
}

struct Pool {
    /// The one used last comes last.
    compressors: Vec<Compressor>,
    engines: Vec<Engine>,
}

/// A compressor with these settings and an empty window.
pub(super) fn take_compressor(window_bits: u8, level: u8) -> Compressor {
    let kept = POOL.try_with(|pool| {
        let compressors = &mut pool.borrow_mut().compressors;
        let at = compressors.iter().rposition(|kept| kept.is(window_bits, level))?;
        Some(compressors.remove(at))
    });
    match kept.ok().flatten() {
        Some(mut compressor) => {
            compressor.reset();
            compressor
        }
        None => Compressor::new(window_bits, level),
    }
}

/// Back to the pool of this thread, in place of the one that was not used for longest.
pub(super) fn give_compressor(compressor: Compressor) {
    let _ = POOL.try_with(|pool| {
        let compressors = &mut pool.borrow_mut().compressors;
        if compressors.len() == COMPRESSORS {
            compressors.remove(0);
        }
        compressors.push(compressor);
    });
}

/// An inflating engine in any state.
pub(super) fn take_engine() -> Engine {
    let kept = POOL.try_with(|pool| pool.borrow_mut().engines.pop()).ok().flatten();
    // All windows fit into the largest, and an engine has that in any case.
    kept.unwrap_or_else(|| Engine::new(false, super::MAX_BITS))
}

/// Back to the pool of this thread.
pub(super) fn give_engine(engine: Engine) {
    let _ = POOL.try_with(|pool| {
        let engines = &mut pool.borrow_mut().engines;
        if engines.len() < ENGINES {
            engines.push(engine);
        }
    });
}
