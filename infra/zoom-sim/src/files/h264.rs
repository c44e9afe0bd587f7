//! One H.264 picture in one colour, written by hand.
//!
//! A codec would be a heavy dependency for a file that merely has to play. The first macroblock is
//! I_PCM and states the colour as it is; every other one is Intra 16x16 with DC prediction and no
//! residual, so it repeats its neighbours. That is one byte a macroblock, and exact.

/// Width and height in macroblocks of 16 pixels: 640x352.
pub(super) const WIDTH_MBS: u32 = 40;
pub(super) const HEIGHT_MBS: u32 = 22;

/// Bits, most significant first, with Exp-Golomb codes (ITU-T H.264, 9.1).
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        for shift in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from((value >> shift) & 1 == 1) << (7 - self.used % 8);
            }
            self.used += 1;
        }
    }

    fn ue(&mut self, value: u32) {
        let length = (value + 1).ilog2();
        self.put(0, length);
        self.put(value + 1, length + 1);
    }

    fn align(&mut self) {
        while !self.used.is_multiple_of(8) {
            self.put(0, 1);
        }
    }

    /// rbsp_trailing_bits, then the NAL unit with emulation prevention.
    fn into_nal(mut self, header: u8) -> Vec<u8> {
        self.put(1, 1);
        self.align();
        let mut nal = vec![header];
        let mut zeros = 0;
        for byte in self.bytes {
            if zeros >= 2 && byte <= 3 {
                nal.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            nal.push(byte);
        }
        nal
    }
}

/// Sequence parameter set: Constrained Baseline, level 3.0.
pub(super) fn sps() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(66, 8); // profile_idc: Baseline
    bits.put(0b1100_0000, 8); // constraint_set0 and constraint_set1
    bits.put(30, 8); // level_idc
    bits.ue(0); // seq_parameter_set_id
    bits.ue(0); // log2_max_frame_num_minus4
    bits.ue(2); // pic_order_cnt_type: output order is decoding order
    bits.ue(1); // max_num_ref_frames
    bits.put(0, 1); // gaps_in_frame_num_value_allowed_flag
    bits.ue(WIDTH_MBS - 1);
    bits.ue(HEIGHT_MBS - 1);
    bits.put(1, 1); // frame_mbs_only_flag
    bits.put(0, 1); // direct_8x8_inference_flag
    bits.put(0, 1); // frame_cropping_flag
    bits.put(0, 1); // vui_parameters_present_flag
    bits.into_nal(0x67)
}

/// Picture parameter set: CAVLC, one slice group.
pub(super) fn pps() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.ue(0); // pic_parameter_set_id
    bits.ue(0); // seq_parameter_set_id
    bits.put(0, 1); // entropy_coding_mode_flag: CAVLC
    bits.put(0, 1); // bottom_field_pic_order_in_frame_present_flag
    bits.ue(0); // num_slice_groups_minus1
    bits.ue(0); // num_ref_idx_l0_default_active_minus1
    bits.ue(0); // num_ref_idx_l1_default_active_minus1
    bits.put(0, 1); // weighted_pred_flag
    bits.put(0, 2); // weighted_bipred_idc
    bits.ue(0); // pic_init_qp_minus26
    bits.ue(0); // pic_init_qs_minus26
    bits.ue(0); // chroma_qp_index_offset
    bits.put(0, 1); // deblocking_filter_control_present_flag
    bits.put(0, 1); // constrained_intra_pred_flag
    bits.put(0, 1); // redundant_pic_cnt_present_flag
    bits.into_nal(0x68)
}

/// An IDR picture filled with one colour.
pub(super) fn picture(luma: u8, blue: u8, red: u8) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.ue(0); // first_mb_in_slice
    bits.ue(7); // slice_type: I, all slices of the picture
    bits.ue(0); // pic_parameter_set_id
    bits.put(0, 4); // frame_num
    bits.ue(0); // idr_pic_id
    bits.put(0, 1); // no_output_of_prior_pics_flag
    bits.put(0, 1); // long_term_reference_flag
    bits.ue(0); // slice_qp_delta
    for y in 0..HEIGHT_MBS {
        for x in 0..WIDTH_MBS {
            if (x, y) == (0, 0) {
                bits.ue(25); // I_PCM
                bits.align();
                for (value, count) in [(luma, 256), (blue, 64), (red, 64)] {
                    (0..count).for_each(|_| bits.put(value.into(), 8));
                }
                continue;
            }
            bits.ue(3); // I_16x16_2_0_0: DC prediction, nothing coded
            bits.ue(0); // intra_chroma_pred_mode: DC
            bits.ue(0); // mb_qp_delta
            // coeff_token for "no coefficients". An I_PCM neighbour counts as 16, which selects the
            // fixed-length table when it is the only neighbour there is.
            if matches!((x, y), (1, 0) | (0, 1)) {
                bits.put(0b00_0011, 6);
            } else {
                bits.put(1, 1);
            }
        }
    }
    bits.into_nal(0x65)
}
