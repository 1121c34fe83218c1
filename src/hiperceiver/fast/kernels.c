/* What happens at every token, fused: tiles of tokens pass from the raw values to the result without leaving the cache.
 *
 * embed_and_attend: embed, add the position, normalise, and let the latents of the group attend; forward and backward.
 * read_tokens: let the slot's position attend to the latents of its group, feed forward, unembed; forward and backward.
 * The formulas are those of CrossAttention in model/layers.py, with the projections absorbed into the shorter side.
 *
 * A tile holds TILE tokens, channel by channel, so that a vector holds one channel of LANES tokens.
 * E embedding channels, N queries or latents, C raw channels, K channels of the result, P slots, S visible slots,
 * R slots that are read.
 */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Lanes of a vector, which must be those of the processor: compilers take wider ones apart value by value. How many
 * rows of sums its registers hold: as wide as a tile, and as wide as a vector. */
#if defined(LANES) /* as the compiler was told */
#elif defined(__AVX512F__)
#define LANES 16
#define ROWS 4
#define NARROW_ROWS 16
#elif defined(__AVX2__)
#define LANES 8
#define ROWS 2
#define NARROW_ROWS 8
#else
#define LANES 4
#define ROWS 2
#define NARROW_ROWS 8
#endif
#define VECTORS 4
#define TILE (LANES * VECTORS)

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));
typedef vec row[VECTORS]; /* one channel of a tile */

#define EACH(v) for (int v = 0; v < VECTORS; v++)

static inline vec splat(float x) { return x - (vec){0}; }
static inline vec larger(vec a, vec b) {
    ivec is_larger = a > b;
    return (vec)(((ivec)a & is_larger) | ((ivec)b & ~is_larger));
}
static inline float sum_lanes(vec x) {
    float total = 0;
    for (int i = 0; i < LANES; i++) total += x[i];
    return total;
}
static inline float highest_lane(vec x) {
    float highest = x[0];
    for (int i = 1; i < LANES; i++) highest = x[i] > highest ? x[i] : highest;
    return highest;
}
static inline vec root(vec x) {
    for (int i = 0; i < LANES; i++) x[i] = sqrtf(x[i]);
    return x;
}

static inline int any_lane(ivec x) {
    int any = 0;
    for (int i = 0; i < LANES; i++) any |= x[i];
    return any;
}

/* exp(x) to about 1e-7, for x below 88; below -87 it is as good as zero. */
static inline vec exponential(vec x) {
    x = larger(x, splat(-87.0f));
    vec shifted = x * 1.44269504f + 12582912.0f; /* the nearest whole number, by adding 1.5 * 2^23 */
    vec whole = shifted - 12582912.0f;
    vec rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    vec y = splat(1.3981999507e-3f) + rest * 1.9875691500e-4f;
    y = y * rest + 8.3334519073e-3f;
    y = y * rest + 4.1665795894e-2f;
    y = y * rest + 1.6666665459e-1f;
    y = y * rest + 5.0000001201e-1f;
    y = y * rest * rest + rest + 1.0f;
    ivec power = (((ivec)shifted - 0x4B400000) + 127) << 23;
    return y * (vec)power;
}

/* Products are computed for some rows at once, whose sums stay in registers: for `most` of them, a quarter, or one. */
#define IN_BLOCKS(most, rows, i, call)                                               \
    do {                                                                             \
        int i = 0;                                                                   \
        for (const int many = most; i + many <= (rows); i += many) call;             \
        for (const int many = (most + 3) / 4; i + many <= (rows); i += many) call;   \
        for (const int many = 1; i < (rows); i++) call;                              \
    } while (0)
#define INLINE static inline __attribute__((always_inline))
#define ONCE static __attribute__((noinline)) /* so large that a copy for each call would take seconds to compile */
#define UNROLLED _Pragma("GCC unroll 16")

/* y[i] for `many` rows from i on; steps lie between a's rows and columns. */
INLINE void multiply_rows(
    const int many, int i, int columns, const float *a, size_t row_step, size_t column_step, const float *bias,
    const row *x, row *y, int adds) {
    row sums[ROWS];
    UNROLLED for (int r = 0; r < many; r++)
        UNROLLED EACH(v) {
            sums[r][v] = splat(bias ? bias[i + r] : 0.0f);
            if (adds) sums[r][v] += y[i + r][v];
        }
    const float *from = a + i * row_step;
    for (int j = 0; j < columns; j++, from += column_step)
        UNROLLED for (int r = 0; r < many; r++)
            UNROLLED EACH(v) sums[r][v] += from[r * row_step] * x[j][v];
    UNROLLED for (int r = 0; r < many; r++) UNROLLED EACH(v) y[i + r][v] = sums[r][v];
}

/* y[i] = bias[i] + sum_j a[i][j] x[j]; without bias nothing is added, and with `adds` y is kept. */
ONCE void multiply(int rows, int columns, const float *a, const float *bias, const row *x, row *y, int adds) {
    IN_BLOCKS(ROWS, rows, i, multiply_rows(many, i, columns, a, columns, 1, bias, x, y, adds));
}

/* y[j] = sum_i a[i][j] x[i], or added to y. */
ONCE void multiply_transposed(int rows, int columns, const float *a, const row *x, row *y, int adds) {
    IN_BLOCKS(ROWS, columns, j, multiply_rows(many, j, rows, a, 1, columns, NULL, x, y, adds));
}

INLINE void add_products_of_rows(const int many, int i, int columns, const row *x, const row *y, vec *sums) {
    row own[ROWS];
    UNROLLED for (int r = 0; r < many; r++) UNROLLED EACH(v) own[r][v] = x[i + r][v];
    vec *into = sums + (size_t)i * columns;
    for (int j = 0; j < columns; j++)
        UNROLLED for (int r = 0; r < many; r++) {
            vec sum = into[r * columns + j];
            UNROLLED EACH(v) sum += own[r][v] * y[j][v];
            into[r * columns + j] = sum;
        }
}

/* sums[i][j] += x[i] y[j], lane by lane: the lanes are summed once, at the end. */
ONCE void add_products(int rows, int columns, const row *x, const row *y, vec *sums) {
    IN_BLOCKS(ROWS, rows, i, add_products_of_rows(many, i, columns, x, y, sums));
}

/* The same where there are many rows, with y token by token, (TILE, width vectors of channels): sums[i] has so many. */
INLINE void add_turned_products_of_rows(const int many, int i, int width, const row *x, const vec *y, vec *sums) {
    for (int w = 0; w < width; w++) {
        vec own[NARROW_ROWS];
        UNROLLED for (int r = 0; r < many; r++) own[r] = sums[(i + r) * width + w];
        for (int t = 0; t < TILE; t++)
            UNROLLED for (int r = 0; r < many; r++) own[r] += ((const float *)x[i + r])[t] * y[t * width + w];
        UNROLLED for (int r = 0; r < many; r++) sums[(i + r) * width + w] = own[r];
    }
}
ONCE void add_turned_products(int rows, int width, const row *x, const vec *y, vec *sums) {
    IN_BLOCKS(NARROW_ROWS, rows, i, add_turned_products_of_rows(many, i, width, x, y, sums));
}

static inline void add_rows(int rows, const row *x, vec *sums) {
    for (int i = 0; i < rows; i++) sums[i] += (x[i][0] + x[i][1]) + (x[i][2] + x[i][3]);
}
static void add_turned(int rows, int columns, int width, const vec *sums, float *into) {
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) into[i * columns + j] += ((const float *)(sums + i * width))[j];
}
static void add_lanes(int count, const vec *sums, float *into) {
    for (int i = 0; i < count; i++) into[i] += sum_lanes(sums[i]);
}

/* Zero mean and unit variance over the channels, in place; gives 1 / deviation. */
static inline void normalise(int channels, row *x, row inverse) {
    row mean, variance;
    EACH(v) mean[v] = variance[v] = splat(0);
    for (int e = 0; e < channels; e++) EACH(v) mean[v] += x[e][v];
    EACH(v) mean[v] *= 1.0f / channels;
    for (int e = 0; e < channels; e++)
        EACH(v) {
            x[e][v] -= mean[v];
            variance[v] += x[e][v] * x[e][v];
        }
    EACH(v) inverse[v] = 1.0f / root(variance[v] * (1.0f / channels) + 1e-5f);
    for (int e = 0; e < channels; e++) EACH(v) x[e][v] *= inverse[v];
}

/* The gradient before normalising, from that after it, in place. */
static inline void normalise_backward(int channels, const row *x, const row inverse, row *gradient) {
    row mean, along;
    EACH(v) mean[v] = along[v] = splat(0);
    for (int e = 0; e < channels; e++)
        EACH(v) {
            mean[v] += gradient[e][v];
            along[v] += gradient[e][v] * x[e][v];
        }
    EACH(v) {
        mean[v] *= 1.0f / channels;
        along[v] *= 1.0f / channels;
    }
    for (int e = 0; e < channels; e++)
        EACH(v) gradient[e][v] = (gradient[e][v] - mean[v] - x[e][v] * along[v]) * inverse[v];
}

/* Where the tokens of a lane begin, for LANES tokens from the first on: in their order, or at slots; -1 and what lies
 * beyond count have none. */
static inline void find(int first, int count, int channels, float *from, const int64_t *slots, float *where[LANES]) {
    for (int i = 0; i < LANES; i++) {
        int t = first + i;
        int64_t slot = t >= count ? -1 : slots ? slots[t] : t;
        where[i] = slot < 0 ? NULL : from + slot * channels;
    }
}

#if LANES == 16 && (defined(__clang__) || __GNUC__ >= 12)
#define HAS_SHUFFLES 1
/* One step of transposing: the halves of the lanes that are `by` apart change slots between two vectors. */
#define LANE_A(i, by) ((i) & (by) ? LANES + (i) - (by) : (i))
#define LANE_B(i, by) ((i) & (by) ? LANES + (i) : (i) + (by))
#define SIXTEEN(lane, by)                                                                                     \
    lane(0, by), lane(1, by), lane(2, by), lane(3, by), lane(4, by), lane(5, by), lane(6, by), lane(7, by),   \
        lane(8, by), lane(9, by), lane(10, by), lane(11, by), lane(12, by), lane(13, by), lane(14, by), lane(15, by)
#define EXCHANGE(by)                                                                 \
    UNROLLED for (int i = 0; i < LANES; i++)                                         \
        if (!(i & by)) {                                                             \
            vec a = x[i], b = x[i + by];                                             \
            x[i] = __builtin_shufflevector(a, b, SIXTEEN(LANE_A, by));               \
            x[i + by] = __builtin_shufflevector(a, b, SIXTEEN(LANE_B, by));          \
        }
INLINE void transpose(vec x[LANES]) {
    EXCHANGE(1)
    EXCHANGE(2)
    EXCHANGE(4)
    EXCHANGE(8)
}
#else
#define HAS_SHUFFLES 0
static inline void transpose(vec x[LANES]) { (void)x; }
#endif

/* Tokens (count, channels) to a tile and back; of the slots, where there are any. Lanes without a token are zero. */
ONCE void load(int channels, int count, const float *from, const int64_t *slots, row *x) {
    EACH(v) {
        float *where[LANES];
        find(v * LANES, count, channels, (float *)from, slots, where);
        int e = 0;
        for (; HAS_SHUFFLES && e + LANES <= channels; e += LANES) {
            vec block[LANES];
            UNROLLED for (int i = 0; i < LANES; i++) {
                block[i] = splat(0);
                if (where[i]) memcpy(&block[i], where[i] + e, sizeof(vec));
            }
            transpose(block);
            UNROLLED for (int i = 0; i < LANES; i++) x[e + i][v] = block[i];
        }
        for (; e < channels; e++)
            for (int i = 0; i < LANES; i++) x[e][v][i] = where[i] ? where[i][e] : 0.0f;
    }
}
ONCE void store(int channels, int count, const row *x, float *to, const int64_t *slots, int adds) {
    EACH(v) {
        float *where[LANES];
        find(v * LANES, count, channels, to, slots, where);
        int e = 0;
        for (; HAS_SHUFFLES && e + LANES <= channels; e += LANES) {
            vec block[LANES];
            UNROLLED for (int i = 0; i < LANES; i++) block[i] = x[e + i][v];
            transpose(block);
            for (int i = 0; i < LANES; i++)
                if (where[i]) {
                    vec old = splat(0);
                    if (adds) memcpy(&old, where[i] + e, sizeof(vec));
                    old += block[i];
                    memcpy(where[i] + e, &old, sizeof(vec));
                }
        }
        for (; e < channels; e++)
            for (int i = 0; i < LANES; i++)
                if (where[i]) where[i][e] = adds ? where[i][e] + x[e][v][i] : x[e][v][i];
    }
}

static inline int width_of(int channels) { return (channels + LANES - 1) / LANES; }

/* A tile token by token: (TILE, width_of(channels)) vectors of channels; what lies beyond the last stays as it is. */
ONCE void turn(int channels, const row *x, vec *turned) {
    int width = width_of(channels);
    EACH(v) {
        int e = 0;
        for (; HAS_SHUFFLES && e + LANES <= channels; e += LANES) {
            vec block[LANES];
            UNROLLED for (int i = 0; i < LANES; i++) block[i] = x[e + i][v];
            transpose(block);
            UNROLLED for (int i = 0; i < LANES; i++) turned[(v * LANES + i) * width + e / LANES] = block[i];
        }
        for (; e < channels; e++)
            for (int i = 0; i < LANES; i++) turned[(v * LANES + i) * width + e / LANES][e % LANES] = x[e][v][i];
    }
}

static void *scratch(size_t bytes) {
    bytes = (bytes + 63) / 64 * 64;
    void *memory = aligned_alloc(64, bytes ? bytes : 64);
    if (memory) memset(memory, 0, bytes);
    return memory;
}
static inline int smaller(int64_t a, int64_t b) { return (int)(a < b ? a : b); }

/* ------------------------------------------------------------------------------------------------ embed and attend */

typedef struct {
    int64_t batch, groups, slots, num_visible; /* B, g, P, S (= P without `visible`) */
    int64_t raw, channels, num_queries;        /* C, E, N */
    int64_t shares_positions, shares_key_mask; /* whether all examples have the same */
    int64_t adds;                              /* whether the gradient by positions is added to what is there */
    const float *x;                            /* (B, g, P, C) */
    const float *positions;                    /* (1 or B, g, P, E) */
    const float *weight, *bias;                /* of the embedding: (E, C), (E) */
    const float *queries;                      /* queries, scaled: (B, g, N, E) */
    const uint8_t *key_mask;                   /* (1 or B, g, P) or NULL */
    const int64_t *visible;                    /* (B, g, S) or NULL; -1 = none */
} attend_arguments;

enum { NONE, SOME, ALL };
/* What a score may be above the one that its softmax is scaled by: e^20 is far from overflow, and scaling anew is rare. */
#define LEEWAY 20.0f

/* One tile of normalised tokens t (E rows), its raw values x (C rows) and which lanes are real: NONE, SOME or ALL. */
static int attend_tile(const attend_arguments *a, int64_t b, int64_t g, int64_t start, row *x, row *t, row inverse, row real) {
    int count = smaller(TILE, a->num_visible - start), num_real = 0;
    int64_t own = b * a->groups + g, positions = (a->shares_positions ? 0 : b * a->groups) + g;
    int64_t key_mask = (a->shares_key_mask ? 0 : b * a->groups) + g;
    const float *raw = a->x + own * a->slots * a->raw, *table = a->positions + positions * a->slots * a->channels;
    const int64_t *slots = a->visible ? a->visible + own * a->num_visible + start : NULL;
    row e[a->channels];
    if (!slots) raw += start * a->raw, table += start * a->channels;
    load(a->raw, count, raw, slots, x);
    load(a->channels, count, table, slots, e);
    float *is_real = (float *)real;
    for (int i = 0; i < TILE; i++) {
        int64_t slot = i >= count ? -1 : slots ? slots[i] : start + i;
        is_real[i] = slot >= 0 && !(a->key_mask && a->key_mask[key_mask * a->slots + slot]);
        num_real += is_real[i] != 0;
    }
    multiply(a->channels, a->raw, a->weight, a->bias, x, t, 0);
    for (int c = 0; c < a->channels; c++) EACH(v) t[c][v] += e[c][v];
    normalise(a->channels, t, inverse);
    return num_real == TILE ? ALL : num_real ? SOME : NONE;
}

/* attended (B, g, N, E): means of the normalised tokens, weighted by the softmax; logsumexp (B, g, N): of the
 * softmax's sums, -inf where nothing was attended. */
int embed_and_attend(const attend_arguments *a, int64_t first, int64_t last, float *attended, float *logsumexp) {
    int n = a->num_queries, channels = a->channels;
    row *s = scratch(sizeof(row) * n), *x = scratch(sizeof(row) * a->raw), *t = scratch(sizeof(row) * channels);
    vec *tops = scratch(sizeof(vec) * n), *highest = scratch(sizeof(vec) * n), *sums = scratch(sizeof(vec) * n);
    int width = width_of(channels);
    vec *total = scratch(sizeof(vec) * n * width), *turned = scratch(sizeof(vec) * TILE * width);
    int failed = !s || !x || !t || !tops || !highest || !sums || !total || !turned;
    for (int64_t g = first; g < last && !failed; g++)
        for (int64_t b = 0; b < a->batch; b++) {
            int64_t own = b * a->groups + g;
            /* The softmax is scaled by a score of about the highest so far. */
            for (int i = 0; i < n; i++) highest[i] = splat(-1e30f);
            memset(sums, 0, sizeof(vec) * n);
            memset(total, 0, sizeof(vec) * n * width);
            for (int64_t start = 0; start < a->num_visible; start += TILE) {
                row inverse, real;
                int is_any = attend_tile(a, b, g, start, x, t, inverse, real);
                if (is_any == NONE) continue;
                multiply(n, channels, a->queries + own * n * channels, NULL, t, s, 0);
                if (is_any == SOME)
                    for (int i = 0; i < n; i++) EACH(v) s[i][v] = s[i][v] * real[v] + (real[v] - 1.0f) * 1e30f;
                ivec is_far = {0};
                for (int i = 0; i < n; i++) {
                    tops[i] = larger(larger(s[i][0], s[i][1]), larger(s[i][2], s[i][3]));
                    is_far |= tops[i] > highest[i] + LEEWAY;
                }
                if (any_lane(is_far))
                    for (int i = 0; i < n; i++) {
                        vec top = splat(highest_lane(larger(tops[i], highest[i])));
                        vec shrink = exponential(highest[i] - top);
                        sums[i] *= shrink;
                        for (int w = 0; w < width; w++) total[i * width + w] *= shrink;
                        highest[i] = top;
                    }
                for (int i = 0; i < n; i++)
                    EACH(v) {
                        s[i][v] = exponential(s[i][v] - highest[i]);
                        if (is_any == SOME) s[i][v] *= real[v];
                        sums[i] += s[i][v];
                    }
                turn(channels, t, turned);
                add_turned_products(n, width, s, turned, total);
            }
            for (int i = 0; i < n; i++) {
                float sum = sum_lanes(sums[i]);
                const float *means = (const float *)(total + i * width);
                for (int e = 0; e < channels; e++)
                    attended[(own * n + i) * channels + e] = sum > 0 ? means[e] / sum : 0.0f;
                logsumexp[own * n + i] = sum > 0 ? highest[i][0] + logf(sum) : -INFINITY;
            }
        }
    free(s), free(x), free(t), free(tops), free(highest), free(sums), free(total), free(turned);
    return failed;
}

/* Gradients by positions (overwritten or, with `adds`, added to; none for NULL), by the queries (B, g, N, E) and,
 * added to, by the embedding. `gradient` is that by `attended`. */
int embed_and_attend_backward(
    const attend_arguments *a, int64_t first, int64_t last, const float *attended, const float *logsumexp, const float *gradient,
    float *by_positions, float *by_queries, float *by_weight, float *by_bias) {
    int n = a->num_queries, channels = a->channels, raw = a->raw;
    row *s = scratch(sizeof(row) * n), *d = scratch(sizeof(row) * n), *x = scratch(sizeof(row) * raw);
    row *t = scratch(sizeof(row) * channels), *dt = scratch(sizeof(row) * channels);
    int width = width_of(channels);
    vec *query_sums = scratch(sizeof(vec) * n * width), *turned = scratch(sizeof(vec) * TILE * width);
    vec *weight_sums = scratch(sizeof(vec) * channels * raw), *bias_sums = scratch(sizeof(vec) * channels);
    float *along = scratch(sizeof(float) * n);
    int failed = !s || !d || !x || !t || !dt || !query_sums || !turned || !weight_sums || !bias_sums || !along;
    for (int64_t g = first; g < last && !failed; g++)
        for (int64_t b = 0; b < a->batch; b++) {
            int64_t own = b * a->groups + g;
            const float *queries = a->queries + own * n * channels, *by_attended = gradient + own * n * channels;
            int64_t group = (a->shares_positions ? 0 : b * a->groups) + g;
            float *table = by_positions ? by_positions + group * a->slots * channels : NULL;
            /* What is not written yet is zero, and a slot may be visible twice. */
            int adds = a->adds || a->visible || (a->shares_positions && b > 0);
            for (int i = 0; i < n; i++) {
                along[i] = 0;
                for (int e = 0; e < channels; e++)
                    along[i] += by_attended[i * channels + e] * attended[(own * n + i) * channels + e];
            }
            memset(query_sums, 0, sizeof(vec) * n * width);
            for (int64_t start = 0; start < a->num_visible; start += TILE) {
                row inverse, real;
                int count = smaller(TILE, a->num_visible - start);
                if (attend_tile(a, b, g, start, x, t, inverse, real) != NONE) {
                    multiply(n, channels, queries, NULL, t, s, 0);
                    multiply(n, channels, by_attended, NULL, t, d, 0);
                    for (int i = 0; i < n; i++)
                        EACH(v) {
                            s[i][v] = exponential((s[i][v] - logsumexp[own * n + i]) * real[v]) * real[v];
                            d[i][v] = s[i][v] * (d[i][v] - along[i]);
                        }
                    turn(channels, t, turned);
                    add_turned_products(n, width, d, turned, query_sums);
                    multiply_transposed(n, channels, queries, d, dt, 0);
                    multiply_transposed(n, channels, by_attended, s, dt, 1);
                    normalise_backward(channels, t, inverse, dt);
                    add_products(channels, raw, dt, x, weight_sums);
                    add_rows(channels, dt, bias_sums);
                } else {
                    memset(dt, 0, sizeof(row) * channels);
                }
                if (table && a->visible)
                    store(channels, count, dt, table, a->visible + own * a->num_visible + start, adds);
                else if (table)
                    store(channels, count, dt, table + start * channels, NULL, adds);
            }
            add_turned(n, channels, width, query_sums, by_queries + own * n * channels);
        }
    if (!failed) {
        add_lanes(channels * raw, weight_sums, by_weight);
        add_lanes(channels, bias_sums, by_bias);
    }
    free(s), free(d), free(x), free(t), free(dt), free(query_sums), free(turned), free(weight_sums);
    free(bias_sums), free(along);
    return failed;
}

/* ----------------------------------------------------------------------------------------------------- read tokens */

typedef struct {
    int64_t batch, groups, slots, num_read; /* B, g, P, R (= P without `read_slots`) */
    int64_t channels, latents, out;         /* E, N, K */
    int64_t shares_positions, shares_read_slots; /* whether all examples have the same; whether all groups have */
    int64_t adds;                           /* whether the gradient by positions is added to what is there */
    const int64_t *read_slots;              /* slots that are read, (B, 1 or g, R) or NULL: all */
    const float *positions;                 /* (1 or B, g, P, E) */
    const float *keys, *constants;          /* (B, g, N, E), (B, g, N): scores are keys . normalised position + constant */
    const float *values, *attention_bias;   /* (B, g, N, E), (E): what is read is attention_bias + softmax . values */
    const float *mlp_weight, *mlp_bias;     /* of the feed-forward, on what was read and normalised: (E, E), (E) */
    const float *head_weight, *head_mlp_weight, *out_bias; /* result = head_weight . x + head_mlp_weight . h + out_bias */
} read_arguments;

typedef struct {
    row *r, *p, *x, *y, *z; /* normalised positions, softmax, read, read normalised, mlp_weight before its activation */
    row inverse_r, inverse_y;
} read_tile;

static int make_read_tile(const read_arguments *a, read_tile *t) {
    t->r = scratch(sizeof(row) * a->channels), t->p = scratch(sizeof(row) * a->latents);
    t->x = scratch(sizeof(row) * a->channels), t->y = scratch(sizeof(row) * a->channels);
    t->z = scratch(sizeof(row) * a->channels);
    return !t->r || !t->p || !t->x || !t->y || !t->z;
}
static void free_read_tile(read_tile *t) { free(t->r), free(t->p), free(t->x), free(t->y), free(t->z); }

/* Where the positions of a tile, or their gradients, are in a table: the first one or, with `read_slots`, the group's. */
static inline int64_t tile_positions(const read_arguments *a, int64_t b, int64_t g, int64_t start) {
    int64_t group = (a->shares_positions ? 0 : b * a->groups) + g;
    return (group * a->slots + (a->read_slots ? 0 : start)) * a->channels;
}
static inline const int64_t *tile_read_slots(const read_arguments *a, int64_t b, int64_t g, int64_t start) {
    return a->read_slots ? a->read_slots + (a->shares_read_slots ? b : b * a->groups + g) * a->num_read + start : NULL;
}

static void compute_read_tile(const read_arguments *a, int64_t b, int64_t g, int64_t start, read_tile *t) {
    int n = a->latents, channels = a->channels, count = smaller(TILE, a->num_read - start);
    int64_t own = b * a->groups + g;
    load(channels, count, a->positions + tile_positions(a, b, g, start), tile_read_slots(a, b, g, start), t->r);
    normalise(channels, t->r, t->inverse_r);
    multiply(n, channels, a->keys + own * n * channels, a->constants + own * n, t->r, t->p, 0);
    row top, sum;
    EACH(v) top[v] = t->p[0][v], sum[v] = splat(0);
    for (int i = 1; i < n; i++) EACH(v) top[v] = larger(top[v], t->p[i][v]);
    for (int i = 0; i < n; i++)
        EACH(v) {
            t->p[i][v] = exponential(t->p[i][v] - top[v]);
            sum[v] += t->p[i][v];
        }
    EACH(v) sum[v] = 1.0f / sum[v];
    for (int i = 0; i < n; i++) EACH(v) t->p[i][v] *= sum[v];
    for (int e = 0; e < channels; e++) EACH(v) t->x[e][v] = splat(a->attention_bias[e]);
    multiply_transposed(n, channels, a->values + own * n * channels, t->p, t->x, 1);
    memcpy(t->y, t->x, sizeof(row) * channels);
    normalise(channels, t->y, t->inverse_y);
    multiply(channels, channels, a->mlp_weight, a->mlp_bias, t->y, t->z, 0);
}

static inline vec positive(vec x) { return larger(x, splat(0)); }

/* result (B, g, R, K) */
int read_tokens(const read_arguments *a, int64_t first, int64_t last, float *result) {
    int channels = a->channels;
    read_tile t;
    row *out = scratch(sizeof(row) * a->out);
    int failed = make_read_tile(a, &t) || !out;
    for (int64_t g = first; g < last && !failed; g++)
        for (int64_t b = 0; b < a->batch; b++)
            for (int64_t start = 0; start < a->num_read; start += TILE) {
                compute_read_tile(a, b, g, start, &t);
                for (int e = 0; e < channels; e++)
                    EACH(v) {
                        vec h = positive(t.z[e][v]);
                        t.z[e][v] = h * h;
                    }
                multiply(a->out, channels, a->head_weight, a->out_bias, t.x, out, 0);
                multiply(a->out, channels, a->head_mlp_weight, NULL, t.z, out, 1);
                int64_t slot = (b * a->groups + g) * a->num_read + start;
                store(a->out, smaller(TILE, a->num_read - start), out, result + slot * a->out, NULL, 0);
            }
    free_read_tile(&t), free(out);
    return failed;
}

/* Gradients by positions (overwritten or, with `adds`, added to; none for NULL), by keys, constants and values of each
 * group, and, added to, by the weights that all groups share. */
int read_tokens_backward(
    const read_arguments *a, int64_t first, int64_t last, const float *gradient, float *by_positions, float *by_keys,
    float *by_constants, float *by_values, float *by_attention_bias, float *by_mlp_weight, float *by_mlp_bias, float *by_head_weight,
    float *by_head_mlp_weight, float *by_out_bias) {
    int n = a->latents, channels = a->channels, out = a->out;
    read_tile t;
    row *d = scratch(sizeof(row) * out), *dz = scratch(sizeof(row) * channels), *dx = scratch(sizeof(row) * channels);
    row *dp = scratch(sizeof(row) * n);
    int width = width_of(channels);
    vec *keys = scratch(sizeof(vec) * n * width), *values = scratch(sizeof(vec) * n * width);
    vec *turned = scratch(sizeof(vec) * TILE * width);
    vec *constants = scratch(sizeof(vec) * n), *attention_bias = scratch(sizeof(vec) * channels);
    vec *mlp_weight = scratch(sizeof(vec) * channels * channels), *mlp_bias = scratch(sizeof(vec) * channels);
    vec *head_weight = scratch(sizeof(vec) * out * channels), *head_mlp_weight = scratch(sizeof(vec) * out * channels);
    vec *out_bias = scratch(sizeof(vec) * out);
    int failed = make_read_tile(a, &t) || !d || !dz || !dx || !dp || !turned || !keys || !values || !constants ||
                 !attention_bias || !mlp_weight || !mlp_bias || !head_weight || !head_mlp_weight || !out_bias;
    for (int64_t g = first; g < last && !failed; g++)
        for (int64_t b = 0; b < a->batch; b++) {
            int64_t own = b * a->groups + g;
            memset(keys, 0, sizeof(vec) * n * width), memset(values, 0, sizeof(vec) * n * width);
            memset(constants, 0, sizeof(vec) * n);
            for (int64_t start = 0; start < a->num_read; start += TILE) {
                int count = smaller(TILE, a->num_read - start);
                compute_read_tile(a, b, g, start, &t);
                load(out, count, gradient + (own * a->num_read + start) * out, NULL, d); /* zero beyond the last slot */
                add_products(out, channels, d, t.x, head_weight);
                add_rows(out, d, out_bias);
                multiply_transposed(out, channels, a->head_mlp_weight, d, dz, 0);
                for (int e = 0; e < channels; e++)
                    EACH(v) {
                        vec h = positive(t.z[e][v]);
                        dz[e][v] *= 2.0f * h;
                        t.z[e][v] = h * h;
                    }
                add_products(out, channels, d, t.z, head_mlp_weight);
                add_products(channels, channels, dz, t.y, mlp_weight);
                add_rows(channels, dz, mlp_bias);
                multiply_transposed(channels, channels, a->mlp_weight, dz, dx, 0);
                normalise_backward(channels, t.y, t.inverse_y, dx);
                multiply_transposed(out, channels, a->head_weight, d, dx, 1);
                add_rows(channels, dx, attention_bias);
                turn(channels, dx, turned);
                add_turned_products(n, width, t.p, turned, values);
                multiply(n, channels, a->values + own * n * channels, NULL, dx, dp, 0);
                row along;
                EACH(v) along[v] = splat(0);
                for (int i = 0; i < n; i++) EACH(v) along[v] += t.p[i][v] * dp[i][v];
                for (int i = 0; i < n; i++) EACH(v) dp[i][v] = t.p[i][v] * (dp[i][v] - along[v]);
                add_rows(n, dp, constants);
                turn(channels, t.r, turned);
                add_turned_products(n, width, dp, turned, keys);
                multiply_transposed(n, channels, a->keys + own * n * channels, dp, dx, 0);
                normalise_backward(channels, t.r, t.inverse_r, dx);
                if (!by_positions) continue;
                store(channels, count, dx, by_positions + tile_positions(a, b, g, start),
                      tile_read_slots(a, b, g, start), a->adds || (a->shares_positions && b > 0));
            }
            add_turned(n, channels, width, keys, by_keys + own * n * channels);
            add_turned(n, channels, width, values, by_values + own * n * channels);
            add_lanes(n, constants, by_constants + own * n);
        }
    if (!failed) {
        add_lanes(channels, attention_bias, by_attention_bias), add_lanes(channels * channels, mlp_weight, by_mlp_weight);
        add_lanes(channels, mlp_bias, by_mlp_bias), add_lanes(out * channels, head_weight, by_head_weight);
        add_lanes(out * channels, head_mlp_weight, by_head_mlp_weight), add_lanes(out, out_bias, by_out_bias);
    }
    free_read_tile(&t), free(d), free(dz), free(dx), free(dp), free(keys), free(values), free(constants), free(attention_bias);
    free(mlp_weight), free(mlp_bias), free(head_weight), free(head_mlp_weight), free(out_bias), free(turned);
    return failed;
}
