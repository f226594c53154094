/* The caller's images: checks, the frame's way in, the outputs' way out. A pixel inside is one
 * little-endian word R, G, B, 0. */
#include "runtime/session.h"

static uint32_t load_word(const uint8_t* from) {
  uint32_t word;
  __builtin_memcpy(&word, from, 4);
  return word;
}
static void store_word(uint8_t* to, uint32_t word) { __builtin_memcpy(to, &word, 4); }

/* R, G, B, any <-> B, G, R, 0. */
static uint32_t swap_red_blue(uint32_t word) { return __builtin_bswap32(word) >> 8; }

static int is_blue_first(mattec_format format) {
  return format == MATTEC_BGR || format == MATTEC_BGRA;
}
static int bytes_of(mattec_format format) {
  if (format == MATTEC_GRAY) return 1;
  return format == MATTEC_RGBA || format == MATTEC_BGRA ? 4 : 3;
}
/* `formats`: bits, as in model.h; `format`: the caller's, of any value. */
static int is_among(int formats, mattec_format format) {
  return (uint32_t)format < 31 && (formats >> format & 1);
}

/* Size and stride; rows must not overlap, in either direction. */
static mattec_status check_size(const mattec_plan* plan, const mattec_image* image) {
  const int64_t row_bytes = plan->width * bytes_of(image->format);
  if (image->width != plan->width || image->height != plan->height) return MATTEC_ERROR_IMAGE_SIZE;
  if (image->stride < row_bytes && image->stride > -row_bytes) return MATTEC_ERROR_IMAGE_SIZE;
  return MATTEC_OK;
}

static mattec_status check_images(const mattec_plan* plan, const mattec_image* frame,
                                  const mattec_outputs* outputs) {
  if (!is_among(MATTEC_COLOR_FORMATS, frame->format)) return MATTEC_ERROR_IMAGE_FORMAT;
  mattec_status status = check_size(plan, frame);
  if (status == MATTEC_OK && outputs->alpha.pixels) {
    if (!is_among(MATTEC_ALPHA_FORMATS, outputs->alpha.format)) return MATTEC_ERROR_IMAGE_FORMAT;
    status = check_size(plan, &outputs->alpha);
  }
  if (status == MATTEC_OK && outputs->foreground.pixels) {
    /* pixel_bytes 0: a network without a foreground. */
    if (!is_among(MATTEC_COLOR_FORMATS, outputs->foreground.format) ||
        plan->foreground.pixel_bytes == 0)
      return MATTEC_ERROR_IMAGE_FORMAT;
    status = check_size(plan, &outputs->foreground);
  }
  return status;
}

/* Of the plan's stored_xor, for R, G, B of a word. */
static uint32_t color_flip(const mattec_plan* plan) { return plan->stored_xor ? 0x808080 : 0; }

#if defined(__aarch64__)
#include <arm_neon.h>

/* Three-byte pixels, 16 at once; returns how many. Word by word they are 14 instructions each. */
static inline int64_t convert_vectors(uint8_t* to, const uint8_t* from, int64_t width,
                                      uint32_t flip, int blue_first) {
  const uint8x16_t by = vdupq_n_u8((uint8_t)flip);
  int64_t x = 0;
  for (; x + 16 <= width; x += 16) {
    const uint8x16x3_t in = vld3q_u8(from + 3 * x);
    const uint8x16x4_t out = {{veorq_u8(in.val[blue_first ? 2 : 0], by), veorq_u8(in.val[1], by),
                               veorq_u8(in.val[blue_first ? 0 : 2], by), vdupq_n_u8(0)}};
    vst4q_u8(to + 4 * x, out);
  }
  return x;
}
#else
static inline int64_t convert_vectors(uint8_t* to, const uint8_t* from, int64_t width,
                                      uint32_t flip, int blue_first) {
  (void)to, (void)from, (void)width, (void)flip, (void)blue_first;
  return 0;
}
#endif

/* One row of the frame, stored XOR `flip`. Three-byte pixels are read as words that reach into the
 * next pixel, all but the row's last one: nothing behind the caller's pixels is touched. */
static inline void convert_row(uint8_t* to, const uint8_t* from, int64_t width, uint32_t flip,
                               int pixel_bytes, int blue_first) {
  const int64_t words = pixel_bytes == 4 ? width : width - 1;
  int64_t x = pixel_bytes == 4 ? 0 : convert_vectors(to, from, width, flip, blue_first);
  for (; x < words; ++x) {
    const uint32_t word = load_word(from + x * pixel_bytes);
    store_word(to + x * 4, (blue_first ? swap_red_blue(word) : word & 0xFFFFFF) ^ flip);
  }
  if (x < width) {
    const uint8_t* last = from + words * 3;
    const uint32_t word = last[0] | (uint32_t)last[1] << 8 | (uint32_t)last[2] << 16;
    store_word(to + words * 4, (blue_first ? swap_red_blue(word) : word) ^ flip);
  }
}

/* One row of the foreground; `alpha` becomes the fourth byte where there is one. Three-byte pixels
 * are written like convert_row reads them. */
static inline void write_row(uint8_t* to, const uint8_t* from, int64_t from_bytes,
                             const uint8_t* alpha, int64_t alpha_bytes, int64_t width,
                             uint32_t flip, int pixel_bytes, int blue_first) {
  const int64_t words = pixel_bytes == 4 ? width : width - 1;
  for (int64_t x = 0; x < words; ++x) {
    uint32_t word = load_word(from + x * from_bytes) ^ flip;
    word = blue_first ? swap_red_blue(word) : word & 0xFFFFFF;
    if (pixel_bytes == 4) word |= ((uint32_t)alpha[x * alpha_bytes] ^ (flip & 0xFF)) << 24;
    store_word(to + x * pixel_bytes, word);
  }
  if (words < width) {
    const uint8_t* last = from + words * from_bytes;
    const uint8_t byte_flip = (uint8_t)flip;
    to[words * 3] = last[blue_first ? 2 : 0] ^ byte_flip;
    to[words * 3 + 1] = last[1] ^ byte_flip;
    to[words * 3 + 2] = last[blue_first ? 0 : 2] ^ byte_flip;
  }
}

static inline void write_alpha_row(uint8_t* to, const uint8_t* alpha, int64_t alpha_bytes,
                                   int64_t width, uint8_t flip) {
  if (alpha_bytes == 4) /* a constant: as vectors */
    for (int64_t x = 0; x < width; ++x) to[x] = alpha[x * 4] ^ flip;
  else
    for (int64_t x = 0; x < width; ++x) to[x] = alpha[x * alpha_bytes] ^ flip;
}

/* Images are moved in strips of about so many pixels: some microseconds each. */
enum { STRIP_PIXELS = 16384 };

static int64_t strip_rows(const mattec_plan* plan) {
  return plan->width >= STRIP_PIXELS ? 1 : STRIP_PIXELS / plan->width;
}
static int32_t strip_count(const mattec_plan* plan) {
  return (int32_t)((plan->height + strip_rows(plan) - 1) / strip_rows(plan));
}
static int64_t strip_end(const mattec_plan* plan, int32_t index) {
  const int64_t end = (index + 1) * strip_rows(plan);
  return end < plan->height ? end : plan->height;
}

struct read_context {
  const struct session* session;
  const mattec_image* image;
};

/* A mattec_task: one strip of the frame into every stored copy of it. */
static void read_strip(void* context, int32_t index) {
  const struct read_context* read = context;
  const mattec_plan* plan = read->session->plan;
  const mattec_image* image = read->image;
  const int64_t first = index * strip_rows(plan), end = strip_end(plan, index);
  const uint32_t flip = color_flip(plan);
  for (int64_t i = 0; i < plan->frame_count; ++i) {
    const mattec_halo* halo = &plan->frames[i].halo;
    for (int64_t y = first; y < end; ++y) {
      const uint8_t* from = image->pixels + y * image->stride;
      uint8_t* to = read->session->tensors + halo->offset + y * halo->row_bytes;
      switch (image->format) { /* constants: four loops without decisions inside */
        case MATTEC_RGB:
          convert_row(to, from, plan->width, flip, 3, 0);
          break;
        case MATTEC_BGR:
          convert_row(to, from, plan->width, flip, 3, 1);
          break;
        case MATTEC_RGBA:
          convert_row(to, from, plan->width, flip, 4, 0);
          break;
        default:
          convert_row(to, from, plan->width, flip, 4, 1);
          break;
      }
    }
    fill_halo(read->session, halo, first, end - first);
  }
}

struct write_context {
  const struct session* session;
  const mattec_outputs* outputs;
};

/* A mattec_task: one strip of the outputs that the caller wants. */
static void write_strip(void* context, int32_t index) {
  const struct write_context* write = context;
  const mattec_plan* plan = write->session->plan;
  const mattec_image* alpha_image = &write->outputs->alpha;
  const mattec_image* image = &write->outputs->foreground;
  const int pixel_bytes = bytes_of(image->format), blue_first = is_blue_first(image->format);
  const uint32_t flip = color_flip(plan);
  for (int64_t y = index * strip_rows(plan); y < strip_end(plan, index); ++y) {
    const uint8_t* alpha = write->session->tensors + plan->alpha.offset + y * plan->alpha.row_bytes;
    if (alpha_image->pixels)
      write_alpha_row(alpha_image->pixels + y * alpha_image->stride, alpha, plan->alpha.pixel_bytes,
                      plan->width, (uint8_t)flip);
    if (!image->pixels) continue;
    uint8_t* to = image->pixels + y * image->stride;
    const mattec_output_record* from = &plan->foreground;
    const uint8_t* row = write->session->tensors + from->offset + y * from->row_bytes;
    if (from->pixel_bytes == 4) /* a constant: as vectors */
      write_row(to, row, 4, alpha, plan->alpha.pixel_bytes, plan->width, flip, pixel_bytes,
                blue_first);
    else
      write_row(to, row, from->pixel_bytes, alpha, plan->alpha.pixel_bytes, plan->width, flip,
                pixel_bytes, blue_first);
  }
}
