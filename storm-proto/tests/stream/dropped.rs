//! Futures that are dropped at any poll, and started anew.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use storm_proto::{Kind, OwnedMessage, WaterMarks};

use crate::{Received, Stream, opened, options, spawn};

/// When a future is dropped: at one of all polls that are not ready, or at every other one,
/// which is the first poll after each wake-up.
#[derive(Clone, Copy, Debug)]
enum Cut {
    Never,
    At(usize),
    EachSecond,
}

/// Counts the polls that are not ready, over both ends.
#[derive(Clone)]
struct Knife {
    cut: Cut,
    pending: Arc<Mutex<usize>>,
}

impl Knife {
    fn new(cut: Cut) -> Knife {
        Knife { cut, pending: Arc::default() }
    }

    fn is_due(&self) -> bool {
        let mut pending = self.pending.lock().unwrap();
        *pending += 1;
        match self.cut {
            Cut::Never => false,
            Cut::At(k) => *pending - 1 == k,
            Cut::EachSecond => *pending % 2 == 1,
        }
    }
}

#[derive(Clone)]
enum Do {
    Send(OwnedMessage),
    Flush,
    Receive,
    Close,
}

type Done<'a> = Pin<Box<dyn Future<Output = Received> + Send + 'a>>;

fn start<'a>(stream: &'a mut Stream, what: &'a Do) -> Done<'a> {
    Box::pin(async move {
        match what {
            Do::Send(message) => stream.send(message).await.unwrap(),
            Do::Flush => stream.flush().await.unwrap(),
            Do::Close => stream.close().await.unwrap(),
            Do::Receive => return stream.next().await,
        }
        None
    })
}

/// Does all of a script; what is cut is started anew, after something else was tried.
async fn play(mut stream: Stream, script: Vec<Do>, knife: Knife) -> (Vec<OwnedMessage>, Stream) {
    let mut received = Vec::new();
    for what in script {
        loop {
            let mut call = start(&mut stream, &what);
            let done = poll_fn(|cx| match call.as_mut().poll(cx) {
                Poll::Ready(message) => Poll::Ready(Some(message)),
                Poll::Pending if knife.is_due() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            let done = done.await;
            drop(call);
            if let Some(message) = done {
                received.extend(message.map(Result::unwrap));
                break;
            }
            poll_fn(|cx| Poll::Ready(pin!(stream.flush()).poll(cx).is_ready())).await;
        }
    }
    (received, stream)
}

/// Turns of two or three messages; some end with a flush.
fn sends(messages: &[OwnedMessage]) -> Vec<Vec<Do>> {
    let turn = |messages: &[OwnedMessage]| {
        let sends = messages.iter().cloned().map(Do::Send);
        sends.chain((messages.len() > 2).then_some(Do::Flush)).collect()
    };
    let (threes, rest) = messages.split_at(6);
    threes.chunks(3).chain(rest.chunks(2)).map(turn).collect()
}

/// Plays both scripts and returns how many polls were not ready.
fn play_both(cut: Cut) -> usize {
    let message = |kind, byte: u8, len| match kind {
        Kind::Text => OwnedMessage::text(String::from(char::from(byte)).repeat(len)),
        Kind::Binary => OwnedMessage::binary(vec![byte; len]),
    };
    let lens = [0, 1, 9, 200, 5, 130, 64, 3];
    let from_client: Vec<_> = lens.map(|len| message(Kind::Text, b'c', len)).into();
    let from_server: Vec<_> = lens.map(|len| message(Kind::Binary, b's', len + 1)).into();
    let mut small = options();
    small.marks = WaterMarks::new(100);
    let (client, server) = opened(11, &small);
    let knife = Knife::new(cut);
    // They take turns: while one waits to write, the other reads.
    let (mut asking, mut serving) = (Vec::new(), Vec::new());
    for (ask, answer) in sends(&from_client).into_iter().zip(sends(&from_server)) {
        let count = |turn: &[Do]| turn.iter().filter(|what| matches!(what, Do::Send(_))).count();
        serving.extend((0..count(&ask)).map(|_| Do::Receive));
        asking.extend(ask);
        asking.extend((0..count(&answer)).map(|_| Do::Receive));
        serving.extend(answer);
    }
    asking.push(Do::Close);
    serving.push(Do::Receive);
    let asked = spawn(play(client, asking, knife.clone()));
    let served = spawn(play(server, serving, knife.clone()));
    let ((at_client, client), (at_server, server)) = (asked.end(), served.end());
    assert_eq!((at_client, at_server), (from_server, from_client), "{cut:?}");
    assert!(client.reason().unwrap().clean && server.reason().unwrap().clean, "{cut:?}");
    *knife.pending.lock().unwrap()
}

#[test]
fn futures_that_are_dropped_at_any_poll_lose_and_double_nothing() {
    let polls = play_both(Cut::Never);
    assert!(polls > 50, "the script waits often enough: {polls} times");
    for k in 0..polls {
        play_both(Cut::At(k));
    }
    play_both(Cut::EachSecond);
}
