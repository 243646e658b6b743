//! Lines of container logs as containerd writes them: six of ten are an application's JSON, three an access log's,
//! one is plain text.

use jiff::Timestamp;

/// The line of this number, with its newline.
pub(crate) fn line(number: u64, time: Timestamp, rng: &mut fastrand::Rng) -> String {
    let (path, user, ms) = (rng.u32(..1000), rng.u32(..100_000), rng.u32(1..900));
    match number % 10 {
        0..6 => format!(
            "{time:.9} stdout F {{\"level\":\"info\",\"ts\":\"{time:.3}\",\"logger\":\"checkout.OrderService\",\"msg\":\"order accepted\",\
             \"order_id\":\"ord-{number:010}\",\"user_id\":{user},\"amount\":{}.{:02},\"currency\":\"EUR\",\"duration_ms\":{ms},\
             \"trace_id\":\"{:032x}\",\"span_id\":\"{:016x}\",\"items\":[{{\"sku\":\"A-{path}\",\"qty\":2}},{{\"sku\":\"B-{ms}\",\"qty\":1}}]}}\n",
            user % 500,
            ms % 100,
            rng.u128(..),
            rng.u64(..)
        ),
        6..9 => format!(
            "{time:.9} stdout F 10.{}.{}.{} - user{user} [21/Nov/2026:04:{:02}:{:02} +0000] \"GET /api/v1/products/{path}?page={}&sort=price HTTP/1.1\" \
             200 {} \"https://shop.example.com/catalog/{path}\" \"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36\" 0.{ms:03}\n",
            user % 250,
            path % 250,
            ms % 250,
            ms % 60,
            path % 60,
            ms % 40,
            user * 3
        ),
        _ => format!(
            "{time:.9} stderr F WARN  [worker-{}] c.e.shop.Inventory - stock for product {path} is low ({} left), reordering from supplier {user}; \
             retry budget {ms} ms\n",
            ms % 16,
            path % 10
        ),
    }
}
