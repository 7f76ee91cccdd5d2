//! The bodies of requests and responses.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use crate::client::Sending;
use crate::grants::Grants;
use crate::over::StepOver;

/// The body of a request or a response, as it comes.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than it may be.
    #[error("the response is longer than {max} bytes")]
    TooLarge {
        /// Bytes that it may have.
        max: u64,
    },
    /// It takes longer than it may.
    #[error("the response took too long")]
    TooSlow,
    /// It takes longer than it may from one piece to the next.
    #[error("nothing more of the response came in time")]
    Stalled,
    /// The step that asked for it is over.
    #[error("the step that sent the request is over")]
    StepOver,
    /// The connection broke, or what came is no HTTP.
    #[error("the connection broke")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
}

/// A response's body under limits: of its length and its time, and of the step that it belongs to.
pub(crate) struct Limited<B> {
    body: B,
    max: u64,
    left: u64,
    deadline: Pin<Box<Sleep>>,
    /// How long it may take from one piece to the next, and when that is over while one is waited for.
    between_max: Option<Duration>,
    next_by: Option<Pin<Box<Sleep>>>,
    over: StepOver,
    _places: Vec<Arc<OwnedSemaphorePermit>>,
}

impl<B> Limited<B> {
    pub(crate) fn new(
        body: B,
        sending: Sending,
        mut places: Vec<Arc<OwnedSemaphorePermit>>,
    ) -> Limited<B> {
        places.extend(sending.permit);
        Limited {
            body,
            max: sending.response_max_bytes,
            left: sending.response_max_bytes,
            deadline: Box::pin(tokio::time::sleep_until(sending.deadline)),
            between_max: sending.between_max,
            next_by: None,
            over: sending.over,
            _places: places,
        }
    }
}

impl<B> http_body::Body for Limited<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.over.is_set() {
            return Poll::Ready(Some(Err(BodyError::StepOver)));
        }
        if this.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(BodyError::TooSlow)));
        }
        let Poll::Ready(came) = Pin::new(&mut this.body).poll_frame(cx) else {
            let max = this.between_max;
            if this.next_by.is_none() {
                this.next_by = max.map(|max| Box::pin(tokio::time::sleep(max)));
            }
            return match &mut this.next_by {
                Some(next_by) => next_by
                    .as_mut()
                    .poll(cx)
                    .map(|()| Some(Err(BodyError::Stalled))),
                None => Poll::Pending,
            };
        };
        this.next_by = None;
        let frame = match came {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::Broken(error.into())))),
            None => return Poll::Ready(None),
        };
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        match this.left.checked_sub(bytes) {
            Some(left) => this.left = left,
            None => return Poll::Ready(Some(Err(BodyError::TooLarge { max: this.max }))),
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// The body of a request, which breaks off when the step is over that sends it: also when the response's head is there already.
pub(crate) struct UntilOver {
    body: Body,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl UntilOver {
    pub(crate) fn new(body: Body, over: StepOver) -> UntilOver {
        UntilOver {
            body,
            over: Box::pin(async move { over.wait().await }),
        }
    }
}

impl http_body::Body for UntilOver {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(BodyError::StepOver)));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// A response in which secrets that come back are shown as their placeholders, as it streams by.
pub fn hide_response(mut response: Response<Body>, grants: &Arc<Grants>) -> Response<Body> {
    if grants.hides_nothing() {
        return response;
    }
    // A placeholder may have another length than what it stands for.
    response.headers_mut().remove(header::CONTENT_LENGTH);
    hide_headers(response.headers_mut(), grants);
    let hiding = |body| Hiding {
        body,
        grants: Arc::clone(grants),
        held: Vec::new(),
        after: None,
        is_done: false,
    };
    response.map(|body| hiding(body).boxed_unsync())
}

fn hide_headers(headers: &mut HeaderMap, grants: &Grants) {
    for value in headers.values_mut() {
        let hidden = grants.hide_bytes(value.as_bytes().to_vec());
        if hidden != value.as_bytes() {
            *value = HeaderValue::from_bytes(&hidden).unwrap_or(HeaderValue::from_static(""));
        }
    }
}

/// A body that is looked through for secrets. It holds back as much as the beginning of one may be.
struct Hiding {
    body: Body,
    grants: Arc<Grants>,
    held: Vec<u8>,
    /// What follows once the rest of what is held has been handed out.
    after: Option<Frame<Bytes>>,
    is_done: bool,
}

impl http_body::Body for Hiding {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        loop {
            if let Some(frame) = this.after.take() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if this.is_done {
                return Poll::Ready(None);
            }
            let (end, trailers) = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => (true, None),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        this.held.extend_from_slice(&data);
                        (false, None)
                    }
                    Err(frame) => (true, frame.into_trailers().ok()),
                },
            };
            let mut held = std::mem::take(&mut this.held);
            let shown = if end {
                this.grants.hide_bytes(held)
            } else {
                let (shown, seen) = this.grants.hide_beginning(&held);
                this.held = held.split_off(seen);
                shown.unwrap_or(held)
            };
            this.is_done = end;
            this.after = trailers.map(|mut trailers| {
                hide_headers(&mut trailers, &this.grants);
                Frame::trailers(trailers)
            });
            if !shown.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(shown.into()))));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::grants::tests::used_grants;

    /// A body that comes in these pieces.
    struct Pieces(VecDeque<Bytes>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
        }
    }

    #[tokio::test]
    async fn a_secret_is_hidden_in_a_body_however_it_is_cut_into_pieces() {
        let text = b"before s3cr\"t-value between s3cr\"t-value";
        let grants = Arc::new(used_grants());
        for piece in 1..text.len() {
            let pieces = text.chunks(piece).map(Bytes::copy_from_slice).collect();
            let mut response = Response::new(Pieces(pieces).boxed_unsync());
            let told = HeaderValue::from_static("s3cr\"t-value");
            response.headers_mut().insert("x-told", told);
            let (head, body) = hide_response(response, &grants).into_parts();
            assert_eq!(head.headers["x-told"], "{{dacapo.secret.key}}");
            let body = body.collect().await.unwrap().to_bytes();
            let expected = "before {{dacapo.secret.key}} between {{dacapo.secret.key}}";
            assert_eq!(body, expected.as_bytes(), "pieces of {piece}");
        }
    }
}
