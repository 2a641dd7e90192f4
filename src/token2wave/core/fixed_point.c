#include "fixed_point.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(TOKEN2WAVE_PLAIN)

#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "threads.h"

#define AVX2 __attribute__((target("avx2,fma")))
#define INLINE static inline __attribute__((always_inline))

/* Partial redundancy elimination in GCC 12 lengthens lives across the innermost loop until a tile no longer
   fits the registers, which takes half as long again. */
#if defined(__clang__)
#define REGISTERS
#else
#define REGISTERS __attribute__((optimize("no-tree-pre")))
#endif

/* A tile of the result, kept in registers: so many vectors of A by so many of B. */
#define TILE_A 6
#define TILE_B 16
/* Numbers of a vector that share a scale. A panel of B, of this length, fits the first-level cache. */
#define PIECE 768
/* Numbers are quantised in runs of this many; panels are filled up with zeros to a multiple. */
#define RUN 16
/* Panels of one item of work: those of A stay in the second-level cache. */
#define PANELS_A 34
#define PANELS_B 32
/* Columns that are quantised at once: whole panels, about a cache line. */
#define STRIP_A 24
#define STRIP_B 16
#define MAX_ITEMS 16384 /* threads.h takes a few more */

/* The norm of a quantised piece stays below 2^15.5 = 46340.9: rounding adds sqrt(PIECE) / 2 = 13.9 at most,
   and the sum of squares in float32 is wrong by 2e-5 at most. */
#define NORM 46300.0f
#define LARGEST 32766.0f
#define MAX_FACTOR 0x1p126f /* whose inverse is still a normal number */
/* Scales are kept times 2^15, close to a piece's norm, so that they leave float32 where the norm does. The
   sums are multiplied by 2^-30 first, which is exact. */
#define SCALE_UNIT 0x1p15f
#define SUM_UNIT 0x1p-30f

/* One factor of the product. */
typedef struct {
    const float *numbers;
    int64_t count;       /* of vectors */
    int64_t length;      /* of each */
    int64_t row;         /* floats from one row of the matrix to the next */
    int are_columns;     /* whether vectors are the columns of the matrix */
    int64_t n_panels;    /* a panel: TILE_A or TILE_B vectors */
    int64_t panel_words; /* a word: two 16-bit numbers that follow each other in a vector */
    int32_t *panels;     /* (pieces, panels, words of a vector, vectors of a panel) */
    float *scales;       /* (pieces, panels, vectors of a panel) */
} factor;

typedef struct {
    factor a, b;
    int64_t n_pieces, piece;
    float *c;
    int phase;
    int64_t n_units[2], n_items[2]; /* of work, in each phase */
    int64_t units_a;  /* of the first phase that quantise A */
    int64_t blocks_b; /* of the second phase side by side */
} product;

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- scales ---- */

typedef struct {
    float factor; /* of the numbers, before they are rounded */
    float scale;  /* of the sums */
} scaling;

/* In double precision, for pieces whose squares leave float32, and those with a NaN or an infinity. */
static scaling careful_scaling(const float *numbers, int64_t n, int64_t stride)
{
    double sum = 0.0, largest = 0.0;
    for (int64_t i = 0; i < n; i++) {
        double number = numbers[i * stride];
        sum += number * number;
        largest = fabs(number) > largest ? fabs(number) : largest;
    }
    double norm = sqrt(sum);
    if (!(norm <= FLT_MAX))
        return (scaling){0.0f, NAN};
    double wanted = fmin(fmin(NORM / norm, LARGEST / largest), MAX_FACTOR);
    return (scaling){(float)wanted, (float)(SCALE_UNIT / wanted)};
}

/* From the sum of squares and the largest size in float32; NaN and infinities are in the sum. */
INLINE scaling scaling_of(float sum, float largest, const float *numbers, int64_t n, int64_t stride)
{
    if (sum == 0.0f && largest == 0.0f)
        return (scaling){0.0f, 0.0f};
    if (!(sum > 1e-24f && sum < 1e36f))
        return careful_scaling(numbers, n, stride);
    float by_norm = NORM / sqrtf(sum), by_size = LARGEST / largest;
    float wanted = by_norm < by_size ? by_norm : by_size;
    return (scaling){wanted, SCALE_UNIT / wanted};
}

AVX2 INLINE __m256 absolute(__m256 x)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x);
}

AVX2 static scaling row_scaling(const float *numbers, int64_t n)
{
    __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()}, sizes[2] = {sums[0], sums[0]};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 2; j++) {
            __m256 x = _mm256_loadu_ps(numbers + i + 8 * j);
            sums[j] = _mm256_fmadd_ps(x, x, sums[j]);
            sizes[j] = _mm256_max_ps(sizes[j], absolute(x));
        }
    float lanes[2][8], sum = 0.0f, largest = 0.0f;
    _mm256_storeu_ps(lanes[0], _mm256_add_ps(sums[0], sums[1]));
    _mm256_storeu_ps(lanes[1], _mm256_max_ps(sizes[0], sizes[1]));
    for (int j = 0; j < 8; j++) {
        sum += lanes[0][j];
        largest = lanes[1][j] > largest ? lanes[1][j] : largest;
    }
    for (; i < n; i++) {
        sum += numbers[i] * numbers[i];
        largest = fabsf(numbers[i]) > largest ? fabsf(numbers[i]) : largest;
    }
    return scaling_of(sum, largest, numbers, n, 1);
}

/* ---- quantising rows ---- */

/* Sixteen numbers as eight words, in the order 0 1 4 5 2 3 6 7. */
AVX2 INLINE __m256i quantised(const float *numbers, __m256 factor)
{
    __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(numbers), factor));
    __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(numbers + 8), factor));
    return _mm256_packs_epi32(low, high);
}

/* A run of up to eight vectors, at rows[], into `width` columns of words. Words of a panel narrower than
   eight are followed by spare ones, which the next word overwrites. */
AVX2 INLINE void quantise_run(const float *const *rows, int64_t at, const float *factors, int n_rows,
                              int width, int32_t *words)
{
    __m256i r[8], halves[8], o[8];
    for (int i = 0; i < 8; i++)
        r[i] = i < n_rows ? quantised(rows[i] + at, _mm256_set1_ps(factors[i])) : _mm256_setzero_si256();
    for (int i = 0; i < 8; i += 4) {
        __m256i a = _mm256_unpacklo_epi32(r[i], r[i + 1]), b = _mm256_unpacklo_epi32(r[i + 2], r[i + 3]);
        __m256i c = _mm256_unpackhi_epi32(r[i], r[i + 1]), d = _mm256_unpackhi_epi32(r[i + 2], r[i + 3]);
        halves[i] = _mm256_unpacklo_epi64(a, b);
        halves[i + 1] = _mm256_unpackhi_epi64(a, b);
        halves[i + 2] = _mm256_unpacklo_epi64(c, d);
        halves[i + 3] = _mm256_unpackhi_epi64(c, d);
    }
    for (int i = 0; i < 4; i++) {
        o[i] = _mm256_permute2x128_si256(halves[i], halves[i + 4], 0x20);
        o[i + 4] = _mm256_permute2x128_si256(halves[i], halves[i + 4], 0x31);
    }
    static const int order[8] = {0, 1, 4, 5, 2, 3, 6, 7};
    for (int i = 0; i < 8; i++)
        _mm256_storeu_si256((__m256i *)(words + i * width), o[order[i]]);
}

/* One panel of vectors that are rows. */
AVX2 INLINE void quantise_rows(const factor *f, int64_t first_number, int64_t n, int64_t panel, int width,
                               int32_t *words, float *scales)
{
    const float *rows[TILE_B];
    float factors[TILE_B];
    for (int i = 0; i < width; i++) {
        int64_t vector = panel * width + i;
        int within = vector < f->count;
        rows[i] = f->numbers + (within ? vector : f->count - 1) * f->row + first_number;
        scaling s = within ? row_scaling(rows[i], n) : (scaling){0.0f, 0.0f};
        factors[i] = s.factor;
        scales[i] = s.scale;
    }
    for (int first = 0; first < width; first += 8) {
        int n_rows = width - first < 8 ? width - first : 8;
        int64_t at = 0;
        for (; at + RUN <= n; at += RUN)
            quantise_run(rows + first, at, factors + first, n_rows, width, words + at / 2 * width + first);
        if (at < n) {
            float rest[8][RUN] = {{0.0f}};
            const float *rests[8];
            for (int i = 0; i < 8; i++)
                rests[i] = rest[i];
            for (int i = 0; i < n_rows; i++)
                memcpy(rest[i], rows[first + i] + at, (size_t)(n - at) * sizeof **rest);
            quantise_run(rests, 0, factors + first, n_rows, width, words + at / 2 * width + first);
        }
    }
}

/* ---- quantising columns ---- */

/* Panels that lie in a strip of columns, which is copied first: lines of a matrix whose rows are some power
   of two apart throw each other out of the cache. */
AVX2 INLINE void quantise_columns(const factor *f, int64_t first_number, int64_t n, int64_t first_panel,
                                  int64_t n_panels, int width, int strip, int32_t *words, float *scales)
{
    float copy[PIECE * STRIP_A + 2]; /* a panel of six is read eight wide */
    int64_t first = first_panel * width, n_columns = smaller(f->count - first, strip);
    const float *from = f->numbers + first_number * f->row + first;
    __m256 sums[STRIP_A / 8], sizes[STRIP_A / 8];
    for (int j = 0; j < strip / 8; j++)
        sums[j] = sizes[j] = _mm256_setzero_ps();
    if (n_columns < strip)
        for (int64_t k = 0; k < n; k++) {
            memcpy(copy + k * strip, from + k * f->row, (size_t)n_columns * sizeof *copy);
            memset(copy + k * strip + n_columns, 0, (size_t)(strip - n_columns) * sizeof *copy);
        }
    for (int64_t k = 0; k < n; k++) {
        const float *row = n_columns < strip ? copy + k * strip : from + k * f->row;
        for (int j = 0; j < strip / 8; j++) {
            __m256 x = _mm256_loadu_ps(row + 8 * j);
            _mm256_storeu_ps(copy + k * strip + 8 * j, x);
            sums[j] = _mm256_fmadd_ps(x, x, sums[j]);
            sizes[j] = _mm256_max_ps(sizes[j], absolute(x));
        }
    }
    float sum[STRIP_A], largest[STRIP_A], factors[STRIP_A + 2] = {0.0f};
    for (int j = 0; j < strip / 8; j++) {
        _mm256_storeu_ps(sum + 8 * j, sums[j]);
        _mm256_storeu_ps(largest + 8 * j, sizes[j]);
    }
    for (int i = 0; i < n_panels * width; i++) {
        scaling s = scaling_of(sum[i], largest[i], copy + i, n, strip);
        factors[i] = s.factor;
        scales[i] = s.scale;
    }
    int64_t n_words = divide_up(n, RUN) * (RUN / 2);
    for (int64_t panel = 0; panel < n_panels; panel++, words += f->panel_words)
        for (int64_t k = 0; k < n_words; k++)
            for (int j = 0; j < width; j += 8) {
                __m256 wanted = _mm256_loadu_ps(factors + panel * width + j);
                const float *pair = copy + 2 * k * strip + panel * width + j;
                __m256i even = _mm256_setzero_si256(), odd = even;
                if (2 * k < n)
                    even = _mm256_cvtps_epi32(_mm256_mul_ps(wanted, _mm256_loadu_ps(pair)));
                if (2 * k + 1 < n)
                    odd = _mm256_cvtps_epi32(_mm256_mul_ps(wanted, _mm256_loadu_ps(pair + strip)));
                __m256i both = _mm256_blend_epi16(even, _mm256_slli_epi32(odd, 16), 0xAA);
                _mm256_storeu_si256((__m256i *)(words + k * width + j), both);
            }
}

/* One unit of the first phase: as many vectors of a factor as a strip has columns. */
AVX2 INLINE void quantise(const product *p, const factor *f, int64_t unit, int width, int strip)
{
    int64_t in_strip = strip / width, strips = divide_up(f->n_panels, in_strip);
    int64_t piece = unit / strips, panel = unit % strips * in_strip;
    int64_t n_panels = smaller(in_strip, f->n_panels - panel);
    int64_t first = piece * p->piece, n = smaller(p->piece, f->length - first);
    int32_t *words = f->panels + (piece * f->n_panels + panel) * f->panel_words;
    float *scales = f->scales + (piece * f->n_panels + panel) * width;
    if (f->are_columns)
        quantise_columns(f, first, n, panel, n_panels, width, strip, words, scales);
    else
        for (int64_t i = 0; i < n_panels; i++)
            quantise_rows(f, first, n, panel + i, width, words + i * f->panel_words, scales + i * width);
}

AVX2 static void quantise_a(const product *p, int64_t unit)
{
    quantise(p, &p->a, unit, TILE_A, STRIP_A);
}

AVX2 static void quantise_b(const product *p, int64_t unit)
{
    quantise(p, &p->b, unit, TILE_B, STRIP_B);
}

/* ---- products ---- */

/* One tile of C, or one piece's share of it, which is added. */
AVX2 REGISTERS static void multiply_tile(int64_t n_words, const int32_t *a, const int32_t *b,
                                         const float *scales_a, const float *scales_b, float *c, int64_t row,
                                         int add)
{
    __m256i sum[TILE_A][2];
#pragma GCC unroll 8
    for (int i = 0; i < TILE_A; i++) {
        sum[i][0] = sum[i][1] = _mm256_setzero_si256();
        _mm_prefetch((const char *)(c + i * row), _MM_HINT_T0);
    }
#pragma GCC unroll 4
    for (int64_t k = 0; k < n_words; k++, a += TILE_A, b += TILE_B) {
        __m256i left = _mm256_load_si256((const __m256i *)b);
        __m256i right = _mm256_load_si256((const __m256i *)b + 1);
#pragma GCC unroll 8
        for (int i = 0; i < TILE_A; i++) {
            __m256i pair = _mm256_set1_epi32(a[i]);
            sum[i][0] = _mm256_add_epi32(sum[i][0], _mm256_madd_epi16(pair, left));
            sum[i][1] = _mm256_add_epi32(sum[i][1], _mm256_madd_epi16(pair, right));
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < TILE_A; i++)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            __m256 x = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[i][j]), _mm256_set1_ps(SUM_UNIT));
            x = _mm256_mul_ps(x, _mm256_loadu_ps(scales_b + 8 * j));
            x = _mm256_mul_ps(x, _mm256_set1_ps(scales_a[i]));
            float *at = c + i * row + 8 * j;
            _mm256_storeu_ps(at, add ? _mm256_add_ps(_mm256_loadu_ps(at), x) : x);
        }
}

/* Fetch one of `shares` equal shares of a panel of B that is needed soon. */
INLINE void fetch_share(const int32_t *panel, int64_t n_words, int64_t share, int64_t shares)
{
    for (int64_t word = n_words * share / shares; word < n_words * (share + 1) / shares; word++)
        _mm_prefetch((const char *)(panel + word * TILE_B), _MM_HINT_T0);
}

/* One unit of the second phase: a block of C. */
static void multiply_block(const product *p, int64_t unit)
{
    const factor *a = &p->a, *b = &p->b;
    int64_t first_a = unit / p->blocks_b * PANELS_A, last_a = smaller(first_a + PANELS_A, a->n_panels);
    int64_t first_b = unit % p->blocks_b * PANELS_B, last_b = smaller(first_b + PANELS_B, b->n_panels);
    int64_t N = b->count;
    for (int64_t piece = 0; piece < p->n_pieces; piece++) {
        int64_t n_words = divide_up(smaller(p->piece, a->length - piece * p->piece), RUN) * (RUN / 2);
        for (int64_t j = first_b; j < last_b; j++)
            for (int64_t i = first_a; i < last_a; i++) {
                const int32_t *words_a = a->panels + (piece * a->n_panels + i) * a->panel_words;
                const int32_t *words_b = b->panels + (piece * b->n_panels + j) * b->panel_words;
                const float *scales_a = a->scales + (piece * a->n_panels + i) * TILE_A;
                const float *scales_b = b->scales + (piece * b->n_panels + j) * TILE_B;
                fetch_share(words_b + b->panel_words, n_words, i - first_a, last_a - first_a);
                float *c = p->c + i * TILE_A * N + j * TILE_B;
                int64_t rows = smaller(TILE_A, a->count - i * TILE_A);
                int64_t columns = smaller(TILE_B, N - j * TILE_B);
                if (rows == TILE_A && columns == TILE_B) {
                    multiply_tile(n_words, words_a, words_b, scales_a, scales_b, c, N, piece > 0);
                } else {
                    float edge[TILE_A * TILE_B];
                    multiply_tile(n_words, words_a, words_b, scales_a, scales_b, edge, TILE_B, 0);
                    for (int64_t y = 0; y < rows; y++)
                        for (int64_t x = 0; x < columns; x++)
                            c[y * N + x] = (piece ? c[y * N + x] : 0.0f) + edge[y * TILE_B + x];
                }
            }
    }
}

static int64_t next_phase(void *argument)
{
    product *p = argument;
    return ++p->phase < 2 ? p->n_items[p->phase] : 0;
}

static void work(void *argument, int64_t item)
{
    const product *p = argument;
    int64_t units = p->n_units[p->phase], items = p->n_items[p->phase];
    for (int64_t unit = units * item / items; unit < units * (item + 1) / items; unit++) {
        if (p->phase == 1)
            multiply_block(p, unit);
        else if (unit < p->units_a)
            quantise_a(p, unit);
        else
            quantise_b(p, unit - p->units_a);
    }
}

int fixed_point_available(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static factor factor_of(const float *numbers, int64_t count, int64_t length, int are_columns, int width)
{
    return (factor){.numbers = numbers,
                    .count = count,
                    .length = length,
                    .row = are_columns ? count : length,
                    .are_columns = are_columns,
                    .n_panels = divide_up(count, width)};
}

int fixed_point_product(int64_t M, int64_t N, int64_t K, const float *a, int a_transposed, const float *b,
                        int b_transposed, float *c, int n_threads)
{
    if (M == 0 || N == 0 || K == 0) {
        memset(c, 0, (size_t)(M * N) * sizeof *c);
        return 0;
    }
    product p = {.a = factor_of(a, M, K, a_transposed, TILE_A),
                 .b = factor_of(b, N, K, !b_transposed, TILE_B),
                 .n_pieces = divide_up(K, PIECE),
                 .c = c,
                 .phase = -1};
    p.piece = divide_up(divide_up(K, p.n_pieces), RUN) * RUN;
    p.a.panel_words = p.piece / 2 * TILE_A + 8; /* the last word's spare ones, kept from the next panel */
    p.b.panel_words = p.piece / 2 * TILE_B;
    int64_t words_a = p.n_pieces * p.a.n_panels * p.a.panel_words;
    int64_t words_b = p.n_pieces * p.b.n_panels * p.b.panel_words;
    int64_t scales_a = p.n_pieces * p.a.n_panels * TILE_A, scales_b = p.n_pieces * p.b.n_panels * TILE_B;
    char *memory = malloc((size_t)(words_a + words_b + scales_a + scales_b) * 4 + 64);
    if (!memory)
        return 1;
    p.b.panels = (int32_t *)(memory + (64 - (uintptr_t)memory % 64)); /* cache lines */
    p.a.panels = p.b.panels + words_b;
    p.a.scales = (float *)(p.a.panels + words_a);
    p.b.scales = p.a.scales + scales_a;
    p.units_a = p.n_pieces * divide_up(p.a.n_panels, STRIP_A / TILE_A);
    p.blocks_b = divide_up(p.b.n_panels, PANELS_B);
    p.n_units[0] = p.units_a + p.n_pieces * divide_up(p.b.n_panels, STRIP_B / TILE_B);
    p.n_units[1] = divide_up(p.a.n_panels, PANELS_A) * p.blocks_b;
    for (int phase = 0; phase < 2; phase++)
        p.n_items[phase] = smaller(p.n_units[phase], MAX_ITEMS);
    run_phases_in_pool(n_threads, next_phase, work, &p);
    free(memory);
    return 0;
}

#else

int fixed_point_available(void)
{
    return 0;
}

int fixed_point_product(int64_t M, int64_t N, int64_t K, const float *a, int a_transposed, const float *b,
                        int b_transposed, float *c, int n_threads)
{
    (void)M, (void)N, (void)K, (void)a, (void)a_transposed, (void)b, (void)b_transposed, (void)c;
    (void)n_threads;
    return 1;
}

#endif
