#include "words.h"

#include <stdlib.h>
#include <string.h>

#include "dense.h"

#define BLOCKS_AHEAD 12

int make_index(word_index *index, const uint32_t *buckets, int64_t n)
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
    return 0;
}

void free_index(word_index *index)
{
    free(index->blocks);
}

void begin_features(feature_reader *reader, const char *utf8, size_t n_bytes)
{
    reader->text = read_text(utf8, n_bytes);
    reader->has_begun = reader->n_carried = 0;
}

/* Write the rows of those buckets that have one; returns their number. */
HOT static int64_t rows_of(const word_index *index, const uint32_t *buckets, int64_t n, int32_t *ids)
{
    int64_t n_rows = 0;
    for (int64_t i = 0; i < n; i++) {
        if (i + BLOCKS_AHEAD < n)
            __builtin_prefetch(index->blocks + (buckets[i + BLOCKS_AHEAD] >> 6));
        bucket_block block = index->blocks[buckets[i] >> 6];
        uint64_t bit = (uint64_t)1 << (buckets[i] & 63);
        ids[n_rows] = (int32_t)(block.n_before + __builtin_popcountll(block.is_row & (bit - 1)));
        n_rows += (block.is_row & bit) != 0;
    }
    return n_rows;
}

int64_t read_features(const word_index *index, feature_reader *reader, int32_t *ids, int64_t *n_words,
                      int *more)
{
    uint64_t grams[MAX_NGRAMS + TOKENS_READ];
    uint32_t buckets[MAX_FEATURES_READ + MAX_NGRAMS];
    uint64_t *hashes = reader->hashes;
    int64_t n_rows = 0, n_carried = reader->n_carried;
    int64_t n_new = read_tokens(&reader->text, &index->table, hashes + n_carried, TOKENS_READ);
    if (n_new < 0)
        return -1;
    if (index->cls && !reader->has_begun)
        ids[n_rows++] = 0;
    reader->has_begun = 1;
    int64_t n = n_carried + n_new;
    int64_t n_buckets = ngram_buckets(hashes, n_carried, grams, n, index->ngrams, index->bits, buckets);
    n_rows += rows_of(index, buckets, n_new, ids + n_rows);
    *n_words = n_rows;
    n_rows += rows_of(index, buckets + n_new, n_buckets - n_new, ids + n_rows);
    *more = n_new > 0 && (reader->text.place < reader->text.end || reader->text.length);
    int64_t n_carry = n < index->ngrams - 1 ? n : index->ngrams - 1;
    memmove(hashes, hashes + n - n_carry, (size_t)n_carry * sizeof *hashes);
    reader->n_carried = (int)n_carry;
    return n_rows;
}
