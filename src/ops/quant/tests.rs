use serde_json::Value;

use super::super::selftest::random;
use super::*;

/// Roughly Gaussian, of unit deviation.
fn gaussian(seed: u64, n: usize) -> Vec<f32> {
    let uniform = random(seed, 12 * n);
    uniform.chunks_exact(12).map(|c| c.iter().sum::<f32>() * 0.5).collect()
}

fn bits(values: &Value) -> Vec<u32> {
    values.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u32).collect()
}

/// NumPy's codes, scales and values, to the bit (`scripts/make_quant_golden.py`).
#[test]
fn codes_and_values_are_those_of_numpy() {
    let golden: Value = serde_json::from_str(include_str!("golden.json")).unwrap();
    assert_eq!(NF4.map(f32::to_bits).to_vec(), bits(&golden["nf4_levels"]));
    for case in golden["cases"].as_array().unwrap() {
        let weights: Vec<f32> = bits(&case["weights"]).into_iter().map(f32::from_bits).collect();
        for q in Quant::ALL {
            let (what, want) = (format!("{}, {}", case["name"], q.name()), &case[q.name()]);
            let m = QuantMatrix::new(q, 1, weights.len(), &weights).unwrap();
            let (codes, scales) = m.codes().row(0);
            let per = 32 / q.bits();
            let mask = (1 << q.bits()) - 1;
            let code = |i: usize| codes[i / per] >> (q.bits() * (i % per)) & mask;
            assert_eq!((0..weights.len()).map(code).collect::<Vec<_>>(), bits(&want["codes"]), "{what}");
            let scale = |g: usize| scale_of(scales, g).to_bits() >> 16;
            let groups = weights.len().div_ceil(q.group());
            assert_eq!((0..groups).map(scale).collect::<Vec<_>>(), bits(&want["scales"]), "{what}");
            let got: Vec<u32> = m.values().iter().map(|v| v.to_bits()).collect();
            assert_eq!(got, bits(&want["values"]), "{what}");
        }
    }
}

/// Widths that are no multiple of a word, a group or a row's alignment, read whole and from within.
#[test]
fn every_width_is_read_back_within_half_a_step() {
    for (rows, cols) in [(1, 1), (5, 36), (3, 33), (2, 64), (7, 129), (4, 896)] {
        let weights = gaussian(cols as u64, rows * cols);
        for q in Quant::ALL {
            let m = QuantMatrix::new(q, rows, cols, &weights).unwrap();
            assert_eq!(m.words.len(), rows * q.row_words(cols));
            assert!(q.row_words(cols).is_multiple_of(4));
            let values = m.values();
            for (i, (v, w)) in values.iter().zip(&weights).enumerate() {
                let first = i - i % cols % q.group();
                let group = &weights[first..(first + q.group()).min(i - i % cols + cols)];
                let top = group.iter().fold(0.0f32, |t, w| t.max(w.abs()));
                // Half of the widest gap between levels; of int4, +8 steps are not to be had.
                let step = match q {
                    Quant::Int8 => top / 127.0 * 0.5,
                    Quant::Int4 => top / 8.0,
                    Quant::Nf4 => top * 0.5 * (1.0 - 0.696_192_8),
                };
                assert!((v - w).abs() <= 1.01 * step, "{q:?} [{rows}, {cols}] element {i}: {v}, not {w}");
                assert_eq!(m.codes().get(i).to_bits(), v.to_bits());
            }
            for from in [0, 1, 7, cols / 2] {
                let mut part = vec![0.0; cols.saturating_sub(from)];
                m.codes().expand((rows - 1) * cols + from.min(cols - 1), &mut part[..cols.saturating_sub(from)]);
                if from < cols {
                    assert_eq!(part, values[(rows - 1) * cols + from..]);
                }
            }
            // What is on the levels stays there.
            let again = QuantMatrix::new(q, rows, cols, &values).unwrap();
            if q != Quant::Int4 {
                let off = |a: f32, b: f32| (a - b).abs() <= 0.01 * a.abs();
                assert!(again.values().iter().zip(&values).all(|(a, b)| off(*b, *a)), "{q:?} [{rows}, {cols}]");
            }
        }
    }
}

/// Relative square error on Gaussian weights as the script computes it for them.
#[test]
fn errors_on_gaussian_weights_are_those_expected() {
    let weights = gaussian(3, 256 * 512);
    for (q, want) in [(Quant::Int8, 3.0e-5), (Quant::Int4, 7.4e-3), (Quant::Nf4, 8.5e-3)] {
        let values = QuantMatrix::new(q, 256, 512, &weights).unwrap().values();
        let square = |x: f32| f64::from(x).powi(2);
        let error: f64 = values.iter().zip(&weights).map(|(v, w)| square(v - w)).sum();
        let nmse = error / weights.iter().map(|w| square(*w)).sum::<f64>();
        assert!((nmse / want - 1.0).abs() < 0.08, "{q:?}: {nmse}, expected about {want}");
    }
}

#[test]
fn what_has_no_codes_is_refused_with_its_place() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut weights = vec![0.5; 6 * 40];
        weights[3 * 40 + 7] = bad;
        let e = QuantMatrix::new(Quant::Nf4, 6, 40, &weights).unwrap_err().to_string();
        assert!(e.contains("[3, 7]") && e.contains(&bad.to_string()), "{e}");
    }
    for (rows, cols) in [(2, 4), (0, 0), (1, usize::MAX)] {
        assert!(QuantMatrix::new(Quant::Int8, rows, cols, &[0.0; 7]).is_err());
    }
    assert!(QuantMatrix::new(Quant::Int8, 0, 4, &[]).is_err());
    let short = QuantMatrix::of_rows(Quant::Int4, 3, 4, |_| Ok::<_, OpError>(vec![0.0; 5]));
    assert!(short.unwrap_err().to_string().contains("5 values for 3 rows of 4"));
}

/// In pieces or at once: the same words.
#[test]
fn rows_may_come_in_pieces() {
    let (rows, cols) = (PIECE / 4096 * 2 + 3, 4096);
    let weights: Vec<f32> = (0..rows * cols).map(|i| (i % 8191) as f32 - 4000.0).collect();
    let mut pieces = 0;
    let m = QuantMatrix::of_rows(Quant::Int8, rows, cols, |r| {
        pieces += 1;
        assert!(r.len() * cols <= PIECE);
        Ok::<_, OpError>(weights[r.start * cols..r.end * cols].to_vec())
    });
    assert_eq!(pieces, 3);
    let m = m.unwrap();
    for row in [0, 1023, 1024, 2047, 2050] {
        let one = QuantMatrix::new(Quant::Int8, 1, cols, &weights[row * cols..][..cols]).unwrap();
        assert_eq!(m.codes().row(row), one.codes().row(0), "row {row}");
    }
}
