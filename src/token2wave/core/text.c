#include "text.h"

#include <stdlib.h>
#include <string.h>

#include "dense.h"

enum { SEPARATOR, WORD, SYMBOL, SINGLE, LETTER };
#define LONGEST_WORD 64
#define APOSTROPHE 0x27
static const uint64_t LINK = 0xD6E8FEB86659FD93u;

/* BASE^i for every position i in a word. */
#define BASE 0x9E3779B97F4A7C15u
#define POWERS_2(p) p, (p) * BASE
#define POWERS_4(p) POWERS_2(p), POWERS_2((p) * BASE * BASE)
#define BASE_4 (BASE * BASE * BASE * BASE)
#define POWERS_8(p) POWERS_4(p), POWERS_4((p) * BASE_4)
#define POWERS_16(p) POWERS_8(p), POWERS_8((p) * BASE_4 * BASE_4)
#define BASE_16 (BASE_4 * BASE_4 * BASE_4 * BASE_4)
#define POWERS_32(p) POWERS_16(p), POWERS_16((p) * BASE_16)
static const uint64_t POWERS[LONGEST_WORD] = {POWERS_32((uint64_t)1), POWERS_32(BASE_16 * BASE_16)};

letter_table letters(unicode_table unicode)
{
    letter_table table = {.unicode = unicode};
    for (uint32_t code = 0; code < N_ASCII; code++) {
        uint32_t folded = unicode.folded[code];
        table.ascii[code] = (uint16_t)(unicode.classes[folded] << 8 | folded);
        table.word_letter[code] = unicode.classes[folded] == WORD ? (uint8_t)folded : 0;
    }
    return table;
}

/* Read the code point at *place, folded, and its class, and step over it; BROKEN if it is not UTF-8. */
static inline uint32_t next_letter(const uint8_t **place, const uint8_t *end, const letter_table *table,
                                   int *class)
{
    if (**place < N_ASCII) {
        uint16_t letter = table->ascii[*(*place)++];
        *class = letter >> 8;
        return letter & 0xFF;
    }
    uint32_t code = next_code_point(place, end);
    if (code == BROKEN)
        return BROKEN;
    code = table->unicode.folded[code];
    *class = table->unicode.classes[code];
    return code;
}

text_reader read_text(const char *utf8, size_t n_bytes)
{
    return (text_reader){.place = (const uint8_t *)utf8, .end = (const uint8_t *)utf8 + n_bytes};
}

/* Hash of a token from the sum of its letters. */
static inline uint64_t hash_of(uint64_t sum, int is_after_letter)
{
    return (mix(sum) & ~(uint64_t)AFTER_LETTER) | (uint64_t)is_after_letter;
}

/* Read tokens; `spelled` may be NULL. */
INLINE int64_t read(text_reader *reader, const letter_table *table, uint64_t *hashes, token_letters *spelled,
                    int64_t room)
{
    text_reader at = *reader; /* the copy stays in registers */
    int64_t n_tokens = 0;
    while (at.place < at.end && n_tokens + 2 <= room) { /* a code point may end a word and be a symbol */
        int class;
        const uint8_t *start = at.place;
        uint32_t code = next_letter(&at.place, at.end, table, &class);
        if (code == BROKEN)
            return -1;
        int in_word = class == WORD;
        if (code == APOSTROPHE && at.after_word && at.place < at.end) {
            const uint8_t *ahead = at.place;
            int class_ahead;
            if (next_letter(&ahead, at.end, table, &class_ahead) == BROKEN)
                return -1;
            in_word = class_ahead == WORD;
        }
        at.after_word = class == WORD;
        if (at.length && (!in_word || at.length == LONGEST_WORD)) {
            if (spelled)
                spelled[n_tokens] = (token_letters){at.word, at.length};
            hashes[n_tokens++] = hash_of(at.sum, 0);
            at.length = 0;
            at.sum = 0;
        }
        if (in_word) {
            if (spelled && !at.length)
                at.word = start;
            at.sum += (uint64_t)(code + 1) * POWERS[at.length++];
            uint8_t letter; /* most often, more letters in ASCII follow */
            while (at.place < at.end && at.length < LONGEST_WORD &&
                   (letter = table->word_letter[*at.place])) {
                at.sum += (uint64_t)(letter + 1) * POWERS[at.length++];
                at.after_word = 1;
                at.place++;
            }
        } else if (class >= SYMBOL) {
            if (spelled)
                spelled[n_tokens] = (token_letters){start, 1};
            hashes[n_tokens++] = hash_of((uint64_t)code + 1, at.after_letter && class == LETTER);
        }
        at.after_letter = class == LETTER;
    }
    if (at.place == at.end && at.length && n_tokens < room) {
        if (spelled)
            spelled[n_tokens] = (token_letters){at.word, at.length};
        hashes[n_tokens++] = hash_of(at.sum, 0);
        at.length = 0;
    }
    *reader = at;
    return n_tokens;
}

int64_t read_tokens(text_reader *reader, const letter_table *table, uint64_t *hashes, int64_t room)
{
    return read(reader, table, hashes, 0, room);
}

int64_t read_spelled_tokens(text_reader *reader, const letter_table *table, uint64_t *hashes,
                            token_letters *spelled, int64_t room)
{
    return read(reader, table, hashes, spelled, room);
}

int64_t ngram_buckets(const uint64_t *hashes, int64_t n_before, uint64_t *grams, int64_t n_words, int ngrams,
                      int unspaced_ngrams, int bits, uint32_t *buckets)
{
    int shift = 64 - bits;
    int64_t n_written = 0;
    uint64_t any = 0;
    for (int64_t i = 0; i < n_words; i++) {
        grams[i] = hashes[i] & ~(uint64_t)AFTER_LETTER;
        any |= hashes[i];
    }
    for (int64_t i = n_before; i < n_words; i++)
        buckets[n_written++] = (uint32_t)(hashes[i] >> shift);
    for (int n = 2; n <= ngrams; n++)
        for (int64_t i = 0; i + n <= n_words; i++) {
            grams[i] = mix(grams[i] * LINK + hashes[i + n - 1]);
            buckets[n_written] = (uint32_t)(grams[i] >> shift);
            n_written += i + n > n_before;
        }
    if (!(any & AFTER_LETTER))
        return n_written;
    for (int n = ngrams + 1; n <= unspaced_ngrams; n++) {
        int64_t n_letters = 0; /* up to the last token of the n-gram, all after letters */
        for (int64_t last = 1; last < n_words; last++) {
            n_letters = hashes[last] & AFTER_LETTER ? n_letters + 1 : 0;
            int64_t i = last - (n - 1);
            if (i < 0)
                continue;
            grams[i] = mix(grams[i] * LINK + hashes[last]);
            buckets[n_written] = (uint32_t)(grams[i] >> shift);
            n_written += n_letters >= n - 1 && last >= n_before;
        }
    }
    return n_written;
}

/* ---- from tokens to rows ---- */

#define BLOCKS_AHEAD 12

/* Index increasing hashes by their leading bits, about as many values as there are hashes. */
static int make_oov_index(oov_index *oov, const uint32_t *hashes, int64_t n)
{
    oov->shift = 31;
    while (oov->shift > 8 && (int64_t)1 << (32 - oov->shift) < 2 * n)
        oov->shift--;
    int64_t n_starts = (int64_t)1 << (32 - oov->shift), next = 0;
    oov->hashes = malloc((size_t)n * sizeof *hashes);
    oov->starts = malloc((size_t)(n_starts + 1) * sizeof *hashes);
    if (!oov->hashes || !oov->starts)
        return -1;
    memcpy(oov->hashes, hashes, (size_t)n * sizeof *hashes);
    for (int64_t i = 0; i <= n_starts; i++) {
        while (next < n && hashes[next] >> oov->shift < i)
            next++;
        oov->starts[i] = (uint32_t)next;
    }
    oov->n = n;
    return 0;
}

int make_index(word_index *index, const uint32_t *buckets, int64_t n, const uint32_t *oov_hashes,
               int64_t n_oov)
{
    int64_t n_blocks = (int64_t)1 << (index->bits > 6 ? index->bits - 6 : 0), next = 0;
    index->blocks = malloc((size_t)n_blocks * sizeof *index->blocks);
    if (!index->blocks)
        return -1;
    for (int64_t block = 0; block < n_blocks; block++) {
        index->blocks[block] = (bucket_block){.n_before = next + index->cls};
        for (; next < n && buckets[next] >> 6 == block; next++)
            index->blocks[block].is_row |= (uint64_t)1 << (buckets[next] & 63);
    }
    index->n_rows = n + index->cls;
    return n_oov ? make_oov_index(&index->oov, oov_hashes, n_oov) : 0;
}

void free_index(word_index *index)
{
    free(index->blocks);
    free(index->oov.hashes);
    free(index->oov.starts);
}

static inline int64_t find_entry(const oov_index *oov, uint64_t hash)
{
    uint32_t top = (uint32_t)(hash >> 32), from = oov->starts[top >> oov->shift];
    uint32_t to = oov->starts[(top >> oov->shift) + 1];
    while (from < to && oov->hashes[from] < top)
        from++;
    return from < to && oov->hashes[from] == top ? (int64_t)from : -1;
}

int oov_entries(const word_index *index, uint64_t hash, token_letters spelled, int32_t *entries)
{
    int64_t entry = find_entry(&index->oov, hash);
    if (entry >= 0) {
        entries[0] = (int32_t)entry;
        return 1;
    }
    uint64_t letters[LONGEST_WORD + 2] = {1}, rolled[LONGEST_WORD + 2];
    int n_letters = spelled.n + 2, n_entries = 0, class;
    const uint8_t *place = spelled.start, *end = place + 4 * LONGEST_WORD; /* it has been read once */
    for (int i = 1; i <= spelled.n; i++)
        letters[i] = (uint64_t)next_letter(&place, end, &index->table, &class) + 2;
    letters[n_letters - 1] = 1;
    for (int i = 0; i < n_letters; i++)
        rolled[i] = LINK * BASE + letters[i];
    for (int n = 2; n <= 5; n++)
        for (int i = 0; i + n <= n_letters; i++) {
            rolled[i] = rolled[i] * BASE + letters[i + n - 1];
            entry = find_entry(&index->oov, mix(rolled[i]));
            entries[n_entries] = (int32_t)entry;
            n_entries += entry >= 0;
        }
    return n_entries;
}

void begin_features(feature_reader *reader, const char *utf8, size_t n_bytes)
{
    reader->text = read_text(utf8, n_bytes);
    reader->has_begun = reader->n_carried = reader->n_missing = 0;
}

/* Write the rows of those buckets that have one; returns their number. */
HOT static int64_t rows_of(const word_index *index, const uint32_t *buckets, int64_t n, int32_t *ids)
{
    int64_t n_rows = 0;
    for (int64_t i = 0; i < n; i++) {
        if (i + BLOCKS_AHEAD < n)
            PREFETCH(index->blocks + (buckets[i + BLOCKS_AHEAD] >> 6));
        ids[n_rows] = row_of_bucket(index, buckets[i]);
        n_rows += ids[n_rows] >= 0;
    }
    return n_rows;
}

/* List the tokens just read that have no row; their letters move to the front. */
static void list_missing(const word_index *index, feature_reader *reader, const uint64_t *hashes, int64_t n)
{
    int n_missing = 0;
    for (int64_t i = 0; i < n; i++) {
        reader->missing[n_missing] = hashes[i];
        reader->spelled[n_missing] = reader->spelled[i];
        n_missing += !has_row(index, hashes[i]);
    }
    reader->n_missing = n_missing;
}

int64_t read_features(const word_index *index, feature_reader *reader, int32_t *ids, int64_t *n_words,
                      int *more)
{
    uint64_t grams[MAX_NGRAMS + TOKENS_READ];
    uint32_t buckets[MAX_FEATURES_READ + MAX_NGRAMS];
    uint64_t *hashes = reader->hashes;
    int64_t n_rows = 0, n_carried = reader->n_carried;
    int64_t n_new = index->oov.n ? read_spelled_tokens(&reader->text, &index->table, hashes + n_carried,
                                                       reader->spelled, TOKENS_READ)
                                 : read_tokens(&reader->text, &index->table, hashes + n_carried, TOKENS_READ);
    if (n_new < 0)
        return -1;
    if (index->cls && !reader->has_begun)
        ids[n_rows++] = 0;
    reader->has_begun = 1;
    int64_t n = n_carried + n_new;
    int64_t n_buckets = ngram_buckets(hashes, n_carried, grams, n, index->ngrams, index->unspaced_ngrams,
                                      index->bits, buckets);
    int64_t n_cls = n_rows;
    n_rows += rows_of(index, buckets, n_new, ids + n_rows);
    *n_words = n_rows;
    reader->n_missing = 0;
    if (index->oov.n && n_rows - n_cls < n_new)
        list_missing(index, reader, hashes + n_carried, n_new);
    n_rows += rows_of(index, buckets + n_new, n_buckets - n_new, ids + n_rows);
    *more = n_new > 0 && (reader->text.place < reader->text.end || reader->text.length);
    int64_t longest = index->ngrams > index->unspaced_ngrams ? index->ngrams : index->unspaced_ngrams;
    int64_t n_carry = n < longest - 1 ? n : longest - 1;
    memmove(hashes, hashes + n - n_carry, (size_t)n_carry * sizeof *hashes);
    reader->n_carried = (int)n_carry;
    return n_rows;
}
