//! The few calls of librdkafka that are made for every record. `rdkafka` makes them, too, but copies each name of a header
//! and the topic's for it, allocates for each report, and polls in whole milliseconds by spinning through the last one.
//! Its producer still makes, purges and ends the client. All that is unsafe in the event log is here.
#![allow(unsafe_code, reason = "functions of the C library are unsafe to call")]

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    ptr::{self, NonNull},
    sync::Arc,
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext,
    config::FromClientConfigAndContext,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext, PurgeConfig},
};
use rdkafka_sys as c;

/// What the library calls back: nothing, all that it says comes as [`Event`]s.
struct Silent;

impl ClientContext for Silent {}

impl ProducerContext for Silent {
    type DeliveryOpaque = usize;

    /// Only of records that were given up before the client is ended.
    fn delivery(&self, _: &DeliveryResult<'_>, _: usize) {}
}

/// Where the library puts what it has to say.
pub(super) struct Queue(NonNull<c::RDKafkaQueue>);

// SAFETY: queues of librdkafka may be used by many threads.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    /// Ends the wait of who polls now, or else the next one.
    pub fn wake(&self) {
        // SAFETY: the pointer is valid as long as `self` is.
        unsafe { c::rd_kafka_queue_yield(self.0.as_ptr()) }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: it was made for us and is used by nobody else. It may outlive its client.
        unsafe { c::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

/// The library's handle of a topic.
struct Topic(NonNull<c::RDKafkaTopic>);

// SAFETY: topics of librdkafka may be used by many threads.
unsafe impl Send for Topic {}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: it was made for us; what is under way has references of its own.
        unsafe { c::rd_kafka_topic_destroy(self.0.as_ptr()) }
    }
}

/// Headers of one message.
pub(super) struct Headers(NonNull<c::RDKafkaHeaders>);

impl Headers {
    /// None yet; `count` of them fit without another allocation.
    pub fn new(count: usize) -> Self {
        // SAFETY: no arguments that could be wrong; the library ends the process when there is no memory.
        let headers = unsafe { c::rd_kafka_headers_new(count) };
        Self(NonNull::new(headers).unwrap_or_else(|| unreachable!("librdkafka allocates or aborts")))
    }

    /// Adds one at the end.
    pub fn add(&mut self, name: &str, value: &str) {
        // SAFETY: both texts are copied, by their lengths, which fit: they are lengths of slices.
        unsafe {
            c::rd_kafka_header_add(
                self.0.as_ptr(),
                name.as_ptr().cast::<c_char>(),
                name.len() as isize,
                value.as_ptr().cast::<c_void>(),
                value.len() as isize,
            );
        }
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        // SAFETY: they are ours until a message takes them, which forgets `self`.
        unsafe { c::rd_kafka_headers_destroy(self.0.as_ptr()) }
    }
}

/// A message to send; everything but the headers is copied.
pub(super) struct Message<'a> {
    /// What [`Client::topic`] gave.
    pub topic: usize,
    pub partition: i32,
    pub key: Option<&'a [u8]>,
    pub body: &'a [u8],
    pub headers: Headers,
    pub unix_milliseconds: i64,
    /// Comes back with the delivery.
    pub id: usize,
}

/// What became of a message: offset and time in milliseconds, or why it was not acknowledged.
pub(super) struct Delivery {
    pub id: usize,
    pub result: Result<(i64, i64), RDKafkaErrorCode>,
}

/// What the library says.
pub(super) enum Event {
    Deliveries(Deliveries),
    Error { code: RDKafkaErrorCode, reason: String },
    Log(String),
    Other,
}

/// An event of the library, ours to free.
struct NativeEvent(NonNull<c::RDKafkaEvent>);

impl Drop for NativeEvent {
    fn drop(&mut self) {
        // SAFETY: it was given to us by a poll.
        unsafe { c::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// Messages of one batch whose fate is known.
pub(super) struct Deliveries(NativeEvent);

impl Iterator for Deliveries {
    type Item = Delivery;

    fn next(&mut self) -> Option<Delivery> {
        // SAFETY: the event is one of deliveries; a message of it lives as long as the event.
        let message = unsafe { c::rd_kafka_event_message_next(self.0.0.as_ptr()).as_ref()? };
        let result = match RDKafkaErrorCode::from(message.err) {
            RDKafkaErrorCode::NoError => {
                // SAFETY: a message of the library; where the kind of time goes may be null.
                let time = unsafe { c::rd_kafka_message_timestamp(message, ptr::null_mut()) };
                Ok((message.offset, time))
            }
            code => Err(code),
        };
        Some(Delivery { id: message._private as usize, result })
    }
}

/// A producer of librdkafka.
pub(super) struct Client {
    // Topics go before the client that they belong to.
    topics: Vec<Topic>,
    producer: BaseProducer<Silent>,
    queue: Arc<Queue>,
}

impl Client {
    /// Begins to connect.
    pub fn new(config: &ClientConfig) -> KafkaResult<Self> {
        let producer = BaseProducer::from_config_and_context(config, Silent)?;
        // SAFETY: the client lives; the reference to its queue is ours.
        let queue = unsafe { c::rd_kafka_queue_get_main(producer.client().native_ptr()) };
        let none = KafkaError::Global(RDKafkaErrorCode::Fail);
        let queue = Arc::new(Queue(NonNull::new(queue).ok_or(none)?));
        Ok(Self { topics: Vec::new(), producer, queue })
    }

    /// For who wants to wake the one that polls.
    pub fn queue(&self) -> Arc<Queue> {
        self.queue.clone()
    }

    /// Prepares a topic; the number to send to it by.
    pub fn topic(&mut self, name: &str) -> KafkaResult<usize> {
        let name = CString::new(name)?;
        // SAFETY: the client lives, the name is copied, no configuration means the client's.
        let topic = unsafe { c::rd_kafka_topic_new(self.native(), name.as_ptr(), ptr::null_mut()) };
        let unusable = KafkaError::Global(RDKafkaErrorCode::UnknownTopic);
        self.topics.push(Topic(NonNull::new(topic).ok_or(unusable)?));
        Ok(self.topics.len() - 1)
    }

    /// Queues a message.
    pub fn send(&self, message: Message<'_>) -> Result<(), RDKafkaErrorCode> {
        use c::rd_kafka_vtype_t as kind;
        let Some(topic) = self.topics.get(message.topic) else { return Err(RDKafkaErrorCode::UnknownTopic) };
        let (key, key_length) = message.key.map_or((ptr::null(), 0), |key| (key.as_ptr(), key.len()));
        // SAFETY: each kind is followed by what librdkafka documents for it. Key and body are copied before it returns.
        let code = unsafe {
            c::rd_kafka_producev(
                self.native(),
                kind::RD_KAFKA_VTYPE_RKT,
                topic.0.as_ptr(),
                kind::RD_KAFKA_VTYPE_PARTITION,
                message.partition,
                kind::RD_KAFKA_VTYPE_MSGFLAGS,
                c::RD_KAFKA_MSG_F_COPY as c_int,
                kind::RD_KAFKA_VTYPE_VALUE,
                message.body.as_ptr(),
                message.body.len(),
                kind::RD_KAFKA_VTYPE_KEY,
                key,
                key_length,
                kind::RD_KAFKA_VTYPE_TIMESTAMP,
                message.unix_milliseconds,
                kind::RD_KAFKA_VTYPE_OPAQUE,
                message.id as *mut c_void,
                kind::RD_KAFKA_VTYPE_HEADERS,
                message.headers.0.as_ptr(),
                kind::RD_KAFKA_VTYPE_END,
            )
        };
        match RDKafkaErrorCode::from(code) {
            RDKafkaErrorCode::NoError => {
                // The library has them now.
                std::mem::forget(message.headers);
                Ok(())
            }
            code => Err(code),
        }
    }

    /// Waits for the next event; whole milliseconds.
    pub fn poll(&self, wait: Duration) -> Option<Event> {
        let milliseconds = c_int::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(c_int::MAX);
        // SAFETY: the queue lives as long as `self`; the event is ours.
        let event = unsafe { c::rd_kafka_queue_poll(self.queue.0.as_ptr(), milliseconds) };
        let event = NativeEvent(NonNull::new(event)?);
        // SAFETY: the event lives, and what is read belongs to its type. Texts are copied.
        Some(unsafe {
            match c::rd_kafka_event_type(event.0.as_ptr()) {
                c::RD_KAFKA_EVENT_DR => Event::Deliveries(Deliveries(event)),
                c::RD_KAFKA_EVENT_ERROR => Event::Error {
                    code: c::rd_kafka_event_error(event.0.as_ptr()).into(),
                    reason: text(c::rd_kafka_event_error_string(event.0.as_ptr())),
                },
                c::RD_KAFKA_EVENT_LOG => {
                    let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
                    match c::rd_kafka_event_log(event.0.as_ptr(), &mut facility, &mut line, &mut level) {
                        0 => Event::Log(text(line)),
                        _ => Event::Other,
                    }
                }
                _ => Event::Other,
            }
        })
    }

    /// Tells the library for that long, in which this waits, to send at once what it has.
    pub fn flush(&self, wait: Duration) {
        let milliseconds = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the client lives. That not all was sent by then is no failure.
        unsafe { c::rd_kafka_flush(self.native(), milliseconds) };
    }

    /// Gives up all that waits; it comes as deliveries that failed.
    pub fn purge(&self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
    }

    /// Makes the client fail for good, as a sequence of records would that broker and client do not agree on.
    pub fn fail_for_good(&self) {
        let code = c::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        // SAFETY: the client lives, the text is copied.
        unsafe { c::rd_kafka_test_fatal_error(self.native(), code, c"asked for".as_ptr()) };
    }

    fn native(&self) -> *mut c::RDKafka {
        self.producer.client().native_ptr()
    }
}

/// # Safety
/// Null, or a text that ends at a zero.
unsafe fn text(text: *const c_char) -> String {
    match text.is_null() {
        true => String::new(),
        // SAFETY: as the caller promises.
        false => unsafe { CStr::from_ptr(text) }.to_string_lossy().trim().to_owned(),
    }
}
