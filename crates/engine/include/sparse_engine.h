/* sparse-engine: pruned convolutional classifiers, fast on a CPU.
 *
 * An engine is a network ready to run. It never changes, so any number of threads may use it at once. A session is the
 * memory and the threads of one caller: make one for each thread that runs images, and use it from one thread at a time.
 * A session keeps what it needs of its engine, so that the engine may be freed before it.
 *
 * Functions that can fail return NULL or a status other than SPARSE_ENGINE_OK; sparse_engine_last_error() then says why.
 * NULL is refused with such a message, and freeing NULL does nothing. Any other pointer must be what the functions below
 * ask for. Running out of memory ends the process.
 *
 * Sessions own threads, which a process made by fork() does not have: load and make sessions after it.
 */
#ifndef SPARSE_ENGINE_H
#define SPARSE_ENGINE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a function says about its work. */
enum sparse_engine_status {
    /* It is done. */
    SPARSE_ENGINE_OK = 0,
    /* An argument cannot be used: NULL, not aligned, too many images, or a session that another thread is using. */
    SPARSE_ENGINE_MISUSE = 1,
    /* A file cannot be read, a network cannot be run, or the system gives no more threads. */
    SPARSE_ENGINE_FAILED = 2,
    /* A bug in the engine. A session in whose run this happened refuses to run again; free it. */
    SPARSE_ENGINE_PANICKED = 3
};

/* A network ready to run; may be shared among threads. */
typedef struct sparse_engine sparse_engine;

/* Memory and threads of one caller; not for two threads at once. */
typedef struct sparse_engine_session sparse_engine_session;

/* Reads weights of sparse-train (.safetensors, packed or not) or an ONNX file, and measures each layer with and without
 * its zeros, which takes up to some seconds.
 *
 * path: bytes as the system has them on Unix, elsewhere UTF-8.
 * threads: of each session, its caller among them; at most 1024; 0 = one for each processor.
 * height, width: of the images; both 0 = as the file says.
 * Returns NULL if the network cannot be had. */
sparse_engine *sparse_engine_load(const char *path, size_t threads, size_t height, size_t width);

/* As sparse_engine_load(), for an ONNX file with several outputs.
 *
 * output: UTF-8, the name of the output with the scores; NULL = the only one.
 * Returns NULL if the network cannot be had, or has several outputs and output is NULL. The message names them. */
sparse_engine *sparse_engine_load_output(const char *path, const char *output, size_t threads, size_t height, size_t width);

/* What the products of a network are computed in that its file does not have in integers. */
enum sparse_engine_precision {
    SPARSE_ENGINE_F32 = 0,
    /* Weights and what they are multiplied with rounded to bf16, sums in f32. Faster on AMD's processors from Zen 4 on; others give the
     * same scores in the time of SPARSE_ENGINE_F32. */
    SPARSE_ENGINE_BF16 = 1
};

/* As sparse_engine_load_output(), in a precision of enum sparse_engine_precision. */
sparse_engine *sparse_engine_load_precision(const char *path, const char *output, int precision, size_t threads, size_t height, size_t width);

/* Frees an engine that no thread is using. Its sessions stay. */
void sparse_engine_free(sparse_engine *engine);

/* Writes channels, height and width of an image to shape[0 .. 2]; returns a status. */
int sparse_engine_input_shape(const sparse_engine *engine, size_t *shape);

/* Scores of an image, one for each class; 0 if engine is NULL. */
size_t sparse_engine_outputs(const sparse_engine *engine);

/* Memory and threads for a caller; NULL if the system has no more threads. */
sparse_engine_session *sparse_engine_session_new(const sparse_engine *engine);

/* Ends the threads of a session that no thread is using, and frees it. */
void sparse_engine_session_free(sparse_engine_session *session);

/* Class scores of images; returns a status. The same bits for any number of threads and any count of images.
 *
 * images: [count][channels][height][width], normalised as in training.
 * outputs: [count][sparse_engine_outputs()], not overlapping images; undefined after a failure.
 * count: images; with 0 nothing is done, and both pointers may be NULL. Memory is taken only for counts larger than all
 * before, and kept. */
int sparse_engine_run(sparse_engine_session *session, const float *images, size_t count, float *outputs);

/* Why the last function that failed on this thread did: UTF-8, "" if none did, never NULL. It is valid until another
 * function fails on this thread or the thread ends. */
const char *sparse_engine_last_error(void);

/* The version of the library, such as "0.1.0". */
const char *sparse_engine_version(void);

#ifdef __cplusplus
}
#endif

#endif
