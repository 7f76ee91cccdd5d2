use dacapo_model::*;
use dacapo_store::*;
use dacapo_worker::*;
use std::time::*;
#[tokio::main]
async fn main() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .init();
    let url = std::env::var("SMOKE_URL").unwrap();
    let store = Store::new(&url, 16).unwrap();
    println!("{:?}", migrate(&store).await);
    let g = std::env::args().nth(1).unwrap();
    let wf = std::env::args().nth(2).unwrap();
    let input = std::env::args().nth(3).unwrap();
    let n: usize = std::env::args().nth(4).map_or(1, |n| n.parse().unwrap());
    let d = dacapo_sandbox::describe(&std::fs::read(g).unwrap()).unwrap();
    println!(
        "{:?}",
        deploy(&store, "default", &d.digest, &d.component, &d.descriptor).await
    );
    let w = active_workflow(&store, "default", &wf).await.unwrap();
    println!("{:?}", w[0].workflow.name);
    let worker = Worker::start(store.clone(), WorkerConfig::default())
        .await
        .unwrap();
    let input = Payload::new(&input, &PayloadLimits::default()).unwrap();
    let t = Instant::now();
    let mut ids = vec![];
    for _ in 0..n {
        let id = RunId::new();
        start_run(
            store.pool(),
            StartRun {
                id,
                workflow: &w[0].workflow.name,
                deployment: w[0].deployment,
                input: &input,
                labels: &Default::default(),
            },
        )
        .await
        .unwrap();
        ids.push(id);
    }
    println!("started in {:?}", t.elapsed());
    loop {
        let left: i64 = sqlx::query_scalar("select (select count(*) from dacapo.task_ready)+(select count(*) from dacapo.task_leased)").fetch_one(store.pool()).await.unwrap();
        if left == 0 || t.elapsed() > Duration::from_secs(20) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("done in {:?}", t.elapsed());
    let r = get_run(&store, ids[0]).await.unwrap().unwrap();
    println!(
        "{:?} out={:?} fail={:?} blocked={:?} waiting={:?}",
        r.status, r.output, r.failure, r.blocked, r.waiting_for
    );
    for s in steps_of(&store, ids[0]).await.unwrap().iter().take(20) {
        println!("{:?}", s);
    }
    for l in log_lines(&store, ids[0]).await.unwrap().iter().take(20) {
        println!("{:?}", l);
    }
    worker.drain().await.unwrap();
}
