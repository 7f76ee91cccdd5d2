use crate::support::{Guest, Run, guest, output};
use std::time::Instant;
#[tokio::test]
async fn measure() {
    for (name, wf, input) in [
        ("probe", "test:probe/durable.counted-steps", "1"),
        ("probe", "test:probe/shapes.nothing", "null"),
        ("bench_guest", "bench:noop/workflows.noop-steps", "1"),
    ] {
        let g = Guest::new(&guest(name));
        eprintln!(
            "{:?}",
            g.described
                .descriptor
                .workflows
                .iter()
                .map(|w| &w.name)
                .take(4)
                .collect::<Vec<_>>()
        );
        let Some(w) = g
            .described
            .descriptor
            .workflows
            .iter()
            .find(|w| w.name == wf)
        else {
            continue;
        };
        let _ = w;
        let mut times = vec![];
        for _ in 0..2000 {
            let mut run = Run::new("x.y", input);
            run.workflow = wf.to_owned();
            let t = Instant::now();
            let e = run.go_on(&g).await;
            times.push(t.elapsed().as_nanos() as u64);
            output(e);
        }
        times.sort();
        eprintln!(
            "{wf}: p50 {} us min {} us p99 {} us",
            times[1000] / 1000,
            times[0] / 1000,
            times[1980] / 1000
        );
    }
}
