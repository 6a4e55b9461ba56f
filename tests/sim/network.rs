//! The network between hosts: byte streams as TCP makes them. What is under way takes its time, longer when a packet of it
//! was lost, and for ever while a link is cut; nothing comes twice or out of order. A connection whose other end has died
//! is told so, unless the host lost power: then it stays silent.
//!
//! Own code, because turmoil's TCP does not retransmit: a lost segment leaves a connection open that nothing comes out of.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    codegen::Service,
    transport::{Channel, Endpoint, Uri, server::Connected},
};

use crate::random::Random;

/// A host's number.
pub type HostId = usize;

/// Bytes of one direction that are under way or unread; then writers wait.
const WINDOW_BYTES: usize = 256 << 10;
/// Connections of one host that wait to be accepted.
const BACKLOG: usize = 1024;
/// A connection that is not answered is tried again after so long.
const SYN_RETRY: Duration = Duration::from_millis(100);

pub struct Network {
    state: Mutex<State>,
}

struct State {
    now: Duration,
    random: Random,
    /// From, to.
    cut: BTreeSet<(HostId, HostId)>,
    latency_max_milliseconds: u64,
    lost_percent: u64,
    listeners: BTreeMap<HostId, Listener>,
    pipes: Vec<Weak<Pipe>>,
}

impl Network {
    pub fn new(random: Random) -> Arc<Self> {
        let state = State {
            now: Duration::ZERO,
            random,
            cut: BTreeSet::new(),
            latency_max_milliseconds: 1,
            lost_percent: 0,
            listeners: BTreeMap::new(),
            pipes: Vec::new(),
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// How slow it is, and how much is lost on the way, from now on.
    pub fn set_quality(&self, latency_max_milliseconds: u64, lost_percent: u64) {
        let mut state = self.state.lock();
        (state.latency_max_milliseconds, state.lost_percent) = (latency_max_milliseconds, lost_percent);
    }

    /// Cuts or mends the link from one host to another.
    pub fn set_cut(&self, from: HostId, to: HostId, cut: bool) {
        let mut state = self.state.lock();
        if cut {
            state.cut.insert((from, to))
        } else {
            state.cut.remove(&(from, to))
        };
    }

    pub fn mend_all(&self) {
        self.state.lock().cut.clear();
    }

    /// Lets what is due arrive.
    pub fn advance(&self, now: Duration) {
        let pipes: Vec<(Arc<Pipe>, bool)> = {
            let mut state = self.state.lock();
            state.now = now;
            state.pipes.retain(|pipe| pipe.strong_count() > 0);
            let cut = |pipe: &Pipe| state.cut.contains(&(pipe.from, pipe.to));
            state.pipes.iter().filter_map(Weak::upgrade).map(|pipe| (pipe.clone(), cut(&pipe))).collect()
        };
        pipes.iter().filter(|(_, cut)| !cut).for_each(|(pipe, _)| pipe.deliver(now));
    }

    /// The host is gone. Without power nobody hears of it; else its connections are reset.
    pub fn host_died(&self, host: HostId, lost_power: bool) {
        let pipes: Vec<Arc<Pipe>> = {
            let mut state = self.state.lock();
            state.listeners.remove(&host);
            state.pipes.iter().filter_map(Weak::upgrade).collect()
        };
        for pipe in pipes.iter().filter(|pipe| pipe.from == host || pipe.to == host) {
            let mut state = pipe.state.lock();
            if lost_power {
                state.swallows = true;
            } else {
                state.broken = true;
                state.wake();
            }
        }
    }

    /// Connections to the host from now on.
    pub fn listen(&self, host: HostId) -> ReceiverStream<io::Result<Stream>> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.state.lock().listeners.insert(host, sender);
        ReceiverStream::new(receiver)
    }

    /// A connection of one host to the one that the address names.
    pub fn channel(self: &Arc<Self>, from: HostId, endpoint: Endpoint) -> Channel {
        let to = host_of(endpoint.uri());
        endpoint.connect_with_connector_lazy(Connector { network: self.clone(), from, to })
    }

    /// A connection of one host to another, as soon as there is a way.
    pub async fn connect(self: Arc<Self>, from: HostId, to: HostId) -> io::Result<Stream> {
        loop {
            let pause = self.state.lock().delay();
            tokio::time::sleep(pause).await;
            let listener = {
                let state = self.state.lock();
                let cut = state.cut.contains(&(from, to)) || state.cut.contains(&(to, from));
                (!cut).then(|| state.listeners.get(&to).cloned())
            };
            if let Some(listener) = listener {
                return self.meet(from, to, listener.ok_or(io::ErrorKind::ConnectionRefused)?);
            }
            tokio::time::sleep(SYN_RETRY).await;
        }
    }

    fn meet(self: &Arc<Self>, from: HostId, to: HostId, listener: Listener) -> io::Result<Stream> {
        let (near, far) = Stream::pair(self, from, to);
        self.state.lock().pipes.extend([Arc::downgrade(&near.read), Arc::downgrade(&near.write)]);
        listener.try_send(Ok(far)).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(near)
    }
}

type Listener = mpsc::Sender<io::Result<Stream>>;

impl State {
    fn delay(&mut self) -> Duration {
        let delay = self.random.milliseconds(0, self.latency_max_milliseconds);
        if self.random.percent(self.lost_percent) { delay + self.random.milliseconds(20, 250) } else { delay }
    }
}

/// The address of a host, and back.
pub fn address(host: HostId) -> String {
    format!("http://host-{host}")
}

fn host_of(uri: &Uri) -> HostId {
    let number = uri.host().and_then(|name| name.strip_prefix("host-")).and_then(|number| number.parse().ok());
    number.unwrap_or(HostId::MAX)
}

struct Connector {
    network: Arc<Network>,
    from: HostId,
    to: HostId,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (network, from, to) = (self.network.clone(), self.from, self.to);
        Box::pin(async move { network.connect(from, to).await.map(TokioIo::new) })
    }
}

/// One direction of a connection.
struct Pipe {
    from: HostId,
    to: HostId,
    state: Mutex<PipeState>,
}

#[derive(Default)]
struct PipeState {
    /// When each arrives; an empty one is the end.
    under_way: VecDeque<(Duration, Bytes)>,
    arrived: VecDeque<Bytes>,
    bytes: usize,
    ended: bool,
    /// Reset: both ends know.
    broken: bool,
    /// An end has lost power: nothing arrives any more.
    swallows: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl PipeState {
    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }
}

impl Pipe {
    fn deliver(&self, now: Duration) {
        let mut state = self.state.lock();
        if state.swallows {
            return;
        }
        let mut news = false;
        while let Some((_, bytes)) = state.under_way.pop_front_if(|(due, _)| *due <= now) {
            news = true;
            if bytes.is_empty() {
                state.ended = true;
            } else {
                state.arrived.push_back(bytes);
            }
        }
        if news {
            state.wake();
        }
    }
}

/// One end of a connection.
pub struct Stream {
    network: Arc<Network>,
    read: Arc<Pipe>,
    write: Arc<Pipe>,
}

impl Stream {
    fn pair(network: &Arc<Network>, from: HostId, to: HostId) -> (Self, Self) {
        let pipe = |from, to| Arc::new(Pipe { from, to, state: Mutex::default() });
        let (there, back) = (pipe(from, to), pipe(to, from));
        let near = Self { network: network.clone(), read: back.clone(), write: there.clone() };
        (near, Self { network: network.clone(), read: there, write: back })
    }

    fn send(&self, bytes: Bytes) {
        let arrives = {
            let mut state = self.network.state.lock();
            state.now + state.delay()
        };
        let mut state = self.write.state.lock();
        let after = state.under_way.back().map_or(arrives, |(before, _)| arrives.max(*before));
        state.bytes += bytes.len();
        state.under_way.push_back((after, bytes));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.send(Bytes::new());
        // Who writes to an end that is gone is told so.
        let mut read = self.read.state.lock();
        if !read.swallows {
            read.broken = true;
            read.wake();
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.read.state.lock();
        if let Some(mut bytes) = state.arrived.pop_front() {
            let part = bytes.split_to(bytes.len().min(buffer.remaining()));
            buffer.put_slice(&part);
            state.bytes -= part.len();
            if !bytes.is_empty() {
                state.arrived.push_front(bytes);
            }
            state.writer.take().into_iter().for_each(Waker::wake);
            return Poll::Ready(Ok(()));
        }
        if state.ended {
            return Poll::Ready(Ok(()));
        }
        if state.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        {
            let mut state = self.write.state.lock();
            if state.broken {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            if state.bytes >= WINDOW_BYTES {
                state.writer = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
        if !bytes.is_empty() {
            self.send(Bytes::copy_from_slice(bytes));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send(Bytes::new());
        Poll::Ready(Ok(()))
    }
}

impl Connected for Stream {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}
