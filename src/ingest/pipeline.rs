//! The threads of an import. One reads files and cuts them into chunks of units; several parse, check and index them;
//! the caller puts them back in order and commits. The database has one writer, so all that can be done before it is done
//! here, and what is ready waits for the writer, not the writer for it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;
use std::{io, mem};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::app::App;
use crate::interactions::write::Put;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::progress;

use super::commit::{self, Mark, Stored};
use super::item::{self, Item, Place, Reject};
use super::reader::{Reader, Unit};
use super::rejects::Rejects;
use super::source::Sources;
use super::summary::Summary;
use super::{ImportError, Options};

/// A chunk goes to a parser when it has so many units, or bytes.
const CHUNK_UNITS: usize = 64;
const CHUNK_BYTES: usize = 128 * 1024;
/// Room is what units take between disk and commit, in pieces of so many bytes.
const ROOM_BYTES: usize = 1024;
/// A batch is committed when it takes so much room, even if it could have more resources: 4 MB of JSON, which
/// take ten times that when they are parsed.
const BATCH_ROOM: usize = 4 * 1024;
/// Four batches: one is taken apart, one written and one put together; a chunk for the last one always finds room.
const FLIGHT_ROOM: usize = 4 * BATCH_ROOM;
/// Chunks between disk and commit.
const FLIGHT_CHUNKS: usize = 1024;

/// How far an import is: what is committed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Read from disk.
    pub bytes: u64,
    pub resources: u64,
}

/// Imports the sources; `observe` is told after each transaction.
///
/// # Errors
/// [`ImportError`] when it could not go on; what was committed stays. Refused resources are no error: they are counted,
/// and listed in the rejects file.
pub async fn import(
    app: &Arc<App>,
    sources: &Sources,
    options: &Options,
    mut observe: impl FnMut(Progress),
) -> Result<Summary, ImportError> {
    let start = Instant::now();
    let identity = sources.identity();
    let done = match identity.as_deref().filter(|_| options.resume) {
        Some(source) => {
            app.store.read(async |conn: &mut Conn| progress::load(conn, source).await).await.map_err(failed)?
        }
        None => 0,
    };
    let mut rejects = Rejects::new(&options.rejects, done > 0)?;
    let mut summary = Summary { units_done_before: done, ..Summary::default() };
    let mut read = start_reading(app, sources, done)?;
    let mut next = read.batch(options.transaction_resources).await?;
    let mut previous = None;
    let mut at = Progress::default();
    while let Some(batch) = next {
        if options.stop.load(Ordering::Relaxed) {
            summary.is_interrupted = true;
            break;
        }
        // Listed before the mark passes them: after a crash in between they are listed twice, never not at all.
        rejects.add(&batch.rejected)?;
        let mark = Mark { source: identity.clone(), units: batch.units_after };
        // While one batch is written, the one before it is taken apart and the next put together.
        let (stored, following) = tokio::join!(commit::store(app, &batch.puts, mark), async {
            drop(previous.take());
            read.batch(options.transaction_resources).await
        });
        let refused = count(&batch, stored.map_err(ImportError::Store)?, &mut summary);
        rejects.add(&refused)?;
        at.bytes = batch.taken_bytes;
        at.resources = summary.total().total();
        observe(at);
        previous = Some(batch);
        next = following?;
    }
    if let Some(source) = identity.filter(|_| !summary.is_interrupted) {
        app.store.write(async move |conn: &mut Conn| progress::clear(conn, &source).await).await.map_err(failed)?;
    }
    app.store.gather_statistics().await.map_err(failed)?;
    summary.seconds = start.elapsed().as_secs_f64();
    Ok(summary)
}

fn failed(error: StoreError) -> ImportError {
    ImportError::Store(error.into())
}

/// Counts what became of a batch. Returns what was refused when it was to be stored.
fn count(batch: &Batch, stored: Vec<Stored>, summary: &mut Summary) -> Vec<Reject> {
    let mut refused = Vec::new();
    for ((stored, put), place) in stored.into_iter().zip(&*batch.puts).zip(&batch.places) {
        match stored {
            Ok((resource_type, outcome)) => summary.stored(resource_type.as_str(), outcome),
            Err(error) => refused.push(Reject::of_put(place.clone(), &put.target, error)),
        }
    }
    for reject in batch.rejected.iter().chain(&refused) {
        summary.count(reject.type_name()).rejected += 1;
    }
    for name in &batch.skipped {
        summary.count(name).skipped += 1;
    }
    refused
}

/// What one transaction stores: whole chunks, so that the mark stands between two units.
struct Batch {
    puts: Arc<[Put]>,
    /// One for each put.
    places: Vec<Place>,
    rejected: Vec<Reject>,
    skipped: Vec<String>,
    /// Units up to its end, counted from the beginning of the sources.
    units_after: i64,
    /// Taken from disk up to its end.
    taken_bytes: u64,
    /// The room is taken until the batch is gone.
    _rooms: Vec<OwnedSemaphorePermit>,
}

/// Units on their way to a parser.
struct Chunk {
    units: Vec<Unit>,
    units_after: i64,
    /// Taken from disk up to here.
    taken_bytes: u64,
    room: OwnedSemaphorePermit,
}

/// A chunk that was read: what its units ask for.
struct Parsed {
    items: Vec<Item>,
    units_after: i64,
    taken_bytes: u64,
    room: OwnedSemaphorePermit,
}

/// The chunks in order, as they come from the parsers.
struct Reading {
    chunks: mpsc::Receiver<oneshot::Receiver<Parsed>>,
    room: Arc<Semaphore>,
}

impl Reading {
    /// The next batch, of at least `resources_max` resources unless that is too much to hold or the sources end.
    async fn batch(&mut self, resources_max: usize) -> Result<Option<Batch>, ImportError> {
        let (mut puts, mut places, mut rejected, mut skipped) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut units_after, mut taken_bytes, mut rooms) = (0, 0, Vec::new());
        let mut room_taken = 0;
        while puts.len() + rejected.len() + skipped.len() < resources_max && room_taken < BATCH_ROOM {
            let Some(parsed) = self.chunks.recv().await else { break };
            let parsed = parsed.await.map_err(|_| ImportError::Thread(io::Error::other("a parser panicked")))?;
            for item in parsed.items {
                match item {
                    Item::Put(place, put) => {
                        places.push(place);
                        puts.push(put);
                    }
                    Item::Skipped(name) => skipped.push(name),
                    Item::Rejected(reject) => rejected.push(reject),
                }
            }
            (units_after, taken_bytes) = (parsed.units_after, parsed.taken_bytes);
            room_taken += parsed.room.num_permits();
            rooms.push(parsed.room);
        }
        let batch = Batch { puts: puts.into(), places, rejected, skipped, units_after, taken_bytes, _rooms: rooms };
        Ok((room_taken > 0).then_some(batch))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        // The reader may be waiting for room that nobody will make any more.
        self.room.close();
    }
}

/// Starts the threads. They end with the sources, or when the [`Reading`] is dropped.
fn start_reading(app: &Arc<App>, sources: &Sources, units_done: i64) -> Result<Reading, ImportError> {
    let room = Arc::new(Semaphore::new(FLIGHT_ROOM));
    let (ordered, chunks) = mpsc::channel(FLIGHT_CHUNKS);
    let (work, waiting) = crossbeam_channel::bounded::<(Chunk, oneshot::Sender<Parsed>)>(FLIGHT_CHUNKS);
    for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
        let (waiting, app) = (waiting.clone(), Arc::clone(app));
        spawn("import-parser", move || {
            while let Ok((chunk, done)) = waiting.recv() {
                let mut items = Vec::with_capacity(chunk.units.len());
                chunk.units.iter().for_each(|unit| item::read(&app, unit, &mut items));
                let Chunk { units: _, units_after, taken_bytes, room } = chunk;
                // The one who commits may have gone.
                let _unwanted = done.send(Parsed { items, units_after, taken_bytes, room });
            }
        })?;
    }
    let (sources, unit_bytes_max, room_left) = (sources.clone(), app.settings.server.body_bytes_max, Arc::clone(&room));
    let runtime = Handle::current();
    spawn("import-reader", move || {
        let send = |chunk: Chunk| {
            let (done, parsed) = oneshot::channel();
            let is_wanted = ordered.blocking_send(parsed).is_ok() && work.send((chunk, done)).is_ok();
            if is_wanted { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let make_room = |bytes: usize| {
            // More than a batch needs no more room than a batch: it is committed at once.
            let wanted = u32::try_from(bytes.div_ceil(ROOM_BYTES).clamp(1, BATCH_ROOM)).unwrap_or(u32::MAX);
            runtime.block_on(Arc::clone(&room_left).acquire_many_owned(wanted)).ok()
        };
        let _unwanted = cut(&sources, unit_bytes_max, units_done, make_room, send);
    })?;
    Ok(Reading { chunks, room })
}

/// Reads the sources in order and hands on chunks of the units behind the first `units_done`.
fn cut(
    sources: &Sources,
    unit_bytes_max: usize,
    units_done: i64,
    make_room: impl Fn(usize) -> Option<OwnedSemaphorePermit>,
    send: impl Fn(Chunk) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let taken = AtomicU64::new(0);
    let reader = Reader { unit_bytes_max, taken: &taken };
    let (mut units, mut bytes, mut units_after) = (Vec::with_capacity(CHUNK_UNITS), 0, 0);
    let hand_on = |units: &mut Vec<Unit>, bytes: &mut usize, units_after| {
        let Some(room) = make_room(*bytes) else { return ControlFlow::Break(()) };
        let units = mem::replace(units, Vec::with_capacity(CHUNK_UNITS));
        *bytes = 0;
        send(Chunk { units, units_after, taken_bytes: taken.load(Ordering::Relaxed), room })
    };
    for source in &sources.files {
        reader.read(source, &mut |unit: Unit| {
            units_after += 1;
            if units_after <= units_done {
                return ControlFlow::Continue(());
            }
            bytes += unit.bytes.as_ref().map_or(0, Vec::len);
            units.push(unit);
            if units.len() < CHUNK_UNITS && bytes < CHUNK_BYTES {
                return ControlFlow::Continue(());
            }
            hand_on(&mut units, &mut bytes, units_after)
        })?;
    }
    if units.is_empty() { ControlFlow::Continue(()) } else { hand_on(&mut units, &mut bytes, units_after) }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), ImportError> {
    thread::Builder::new().name(name.into()).spawn(run).map(|_detached| ()).map_err(ImportError::Thread)
}
