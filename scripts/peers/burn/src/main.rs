// burn: square matmul GFLOP/s and a Qwen2-shaped training step. args: device mm|train [config]
use burn::nn::{
    Embedding, EmbeddingConfig, Linear, LinearConfig, RmsNorm, RmsNormConfig, RotaryEncoding, RotaryEncodingConfig,
    loss::CrossEntropyLossConfig,
};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::prelude::*;
use burn::tensor::{Distribution, activation};
use std::time::Instant;
#[derive(Module, Debug)]
struct Block {
    n1: RmsNorm,
    n2: RmsNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    g: Linear,
    u: Linear,
    d: Linear,
}
#[derive(Module, Debug)]
struct Net {
    emb: Embedding,
    blocks: Vec<Block>,
    norm: RmsNorm,
    rope: RotaryEncoding,
}
struct Cfg {
    h: usize,
    l: usize,
    nh: usize,
    kv: usize,
    hd: usize,
    i: usize,
    v: usize,
}
impl Net {
    fn new(c: &Cfg, dev: &Device) -> Self {
        let lin = |i, o, b| LinearConfig::new(i, o).with_bias(b).init(dev);
        let nrm = || RmsNormConfig::new(c.h).with_epsilon(1e-6).init(dev);
        Net {
            emb: EmbeddingConfig::new(c.v, c.h).init(dev),
            norm: nrm(),
            rope: RotaryEncodingConfig::new(1024, c.hd).with_theta(1e6).init(dev),
            blocks: (0..c.l)
                .map(|_| Block {
                    n1: nrm(),
                    n2: nrm(),
                    q: lin(c.h, c.nh * c.hd, true),
                    k: lin(c.h, c.kv * c.hd, true),
                    v: lin(c.h, c.kv * c.hd, true),
                    o: lin(c.nh * c.hd, c.h, false),
                    g: lin(c.h, c.i, false),
                    u: lin(c.h, c.i, false),
                    d: lin(c.i, c.h, false),
                })
                .collect(),
        }
    }
    fn forward(&self, c: &Cfg, ids: Tensor<2, Int>) -> Tensor<3> {
        let [b, t] = ids.dims();
        let mask = Tensor::<2, Bool>::tril_mask([t, t], 0, &ids.device()).reshape([1, 1, t, t]).expand([b, c.nh, t, t]);
        let mut x = self.emb.forward(ids);
        for l in &self.blocks {
            let y = l.n1.forward(x.clone());
            let q = self.rope.forward(l.q.forward(y.clone()).reshape([b, t, c.nh, c.hd]).swap_dims(1, 2));
            let k = self.rope.forward(l.k.forward(y.clone()).reshape([b, t, c.kv, c.hd]).swap_dims(1, 2));
            let v = l.v.forward(y).reshape([b, t, c.kv, c.hd]).swap_dims(1, 2);
            let r = c.nh / c.kv;
            let k = k.reshape([b, c.kv, 1, t, c.hd]).repeat_dim(2, r).reshape([b, c.nh, t, c.hd]);
            let v = v.reshape([b, c.kv, 1, t, c.hd]).repeat_dim(2, r).reshape([b, c.nh, t, c.hd]);
            let s = q.matmul(k.swap_dims(2, 3)).div_scalar((c.hd as f32).sqrt()).mask_fill(mask.clone(), -1e9);
            let a = activation::softmax(s, 3).matmul(v).swap_dims(1, 2).reshape([b, t, c.nh * c.hd]);
            x = x + l.o.forward(a);
            let y = l.n2.forward(x.clone());
            x = x + l.d.forward(activation::silu(l.g.forward(y.clone())) * l.u.forward(y));
        }
        let w = self.emb.weight.val().transpose().unsqueeze::<3>();
        self.norm.forward(x).matmul(w)
    }
}
fn med(mut v: Vec<f64>) -> (f64, f64, f64) {
    v.sort_by(|a, b| a.total_cmp(b));
    (v[v.len() / 2], v[0], v[v.len() - 1])
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let dev = match a[1].as_str() {
        "wgpu" => Device::wgpu(Default::default()),
        "webgpu" => Device::webgpu(Default::default()),
        #[cfg(feature = "cpu")]
        "cpu" => Device::cpu(),
        "flex" => Device::flex(),
        x => panic!("{x}?"),
    };
    if a[2] == "mm" {
        for n in a[3].split(',').map(|x| x.parse::<usize>().unwrap()) {
            let x = Tensor::<2>::random([n, n], Distribution::Default, &dev);
            let y = Tensor::<2>::random([n, n], Distribution::Default, &dev);
            dev.sync().unwrap();
            let t = Instant::now();
            let _ = x.clone().matmul(y.clone());
            dev.sync().unwrap();
            let first = t.elapsed().as_secs_f64();
            let one = |k: usize| {
                let t = Instant::now();
                for _ in 0..k {
                    let z = x.clone().matmul(y.clone());
                    let _ = z.slice([0..1, 0..1]).into_data();
                }
                t.elapsed().as_secs_f64() / k as f64
            };
            one(1);
            let e = one(1);
            let k = ((0.2 / e) as usize).clamp(1, 200);
            let m = med((0..5).map(|_| one(k)).collect());
            let fl = 2.0 * (n as f64).powi(3) / 1e9;
            println!(
                "burn {} matmul {n}: {:.2} GFLOP/s (min {:.2} max {:.2}), first call {:.2} s",
                a[1],
                fl / m.0,
                fl / m.2,
                fl / m.1,
                first
            );
        }
    } else {
        let c = if a[3] == "tiny" {
            Cfg { h: 128, l: 4, nh: 4, kv: 2, hd: 32, i: 352, v: 512 }
        } else {
            Cfg { h: 256, l: 6, nh: 8, kv: 2, hd: 32, i: 704, v: 4096 }
        };
        let n: usize = a[4].parse().unwrap();
        let ids: Vec<i32> = (0..8 * 128).map(|i| ((i * 977 + 5) % c.v) as i32).collect();
        {
            let net = Net::new(&c, &dev);
            let x = Tensor::<1, Int>::from_ints(&ids[..128], &dev).reshape([1, 128]);
            let f = || {
                let t = Instant::now();
                let _ = net.forward(&c, x.clone()).slice([0..1, 0..1, 0..1]).into_data();
                t.elapsed().as_secs_f64()
            };
            let first = f();
            f();
            let m = med((0..n).map(|_| f()).collect());
            println!(
                "burn {} {} prefill 128: {:.1} ms (min {:.1} max {:.1}), first {:.2} s",
                a[1],
                a[3],
                m.0 * 1e3,
                m.1 * 1e3,
                m.2 * 1e3,
                first
            );
        }
        let dev = dev.autodiff();
        let mut net = Net::new(&c, &dev);
        let mut opt = AdamWConfig::new().init();
        let x = Tensor::<1, Int>::from_ints(ids.as_slice(), &dev).reshape([8, 128]);
        let ce = CrossEntropyLossConfig::new().init(&dev);
        let mut v = vec![];
        let mut losses = vec![];
        for s in 0..n + 2 {
            let t = Instant::now();
            let lo = net.forward(&c, x.clone()).reshape([8 * 128, c.v]);
            let loss = ce.forward(lo, x.clone().reshape([8 * 128]));
            let lv = loss.clone();
            let g = GradientsParams::from_grads(loss.backward(), &net);
            net = opt.step(1e-4, net, g);
            losses.push(lv.into_scalar::<f32>());
            dev.sync().unwrap();
            let e = t.elapsed().as_secs_f64();
            if s == 0 {
                println!("first step {e:.2} s");
            }
            if s > 1 {
                v.push(e);
            }
        }
        let m = med(v);
        println!(
            "burn {} {} train 8x128: {:.1} ms/step (min {:.1} max {:.1}) loss {:.3} -> {:.3}",
            a[1],
            a[3],
            m.0 * 1e3,
            m.1 * 1e3,
            m.2 * 1e3,
            losses[0],
            losses.last().unwrap()
        );
    }
}
