/* What happens at the border of the C functions: `border MODEL` ends with 0 if all is as the header says.
 *
 * MODEL takes images of one size only.
 */
#include <sparse_engine.h>
#include <sparse_engine.h> /* Twice does no harm. */

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) \
    ((condition) ? (void)0 \
                 : (fprintf(stderr, "border.c:%d: %s; last error: %s\n", __LINE__, #condition, sparse_engine_last_error()), \
                    exit(1)))

#define RUNS 50

static int says(const char *part) {
    return strstr(sparse_engine_last_error(), part) != NULL;
}

static void nothing_is_refused(const char *model) {
    size_t shape[3];
    float number = 0;
    CHECK(strcmp(sparse_engine_last_error(), "") == 0);
    CHECK(sparse_engine_load(NULL, 1, 0, 0) == NULL && says("`path` is NULL"));
    CHECK(sparse_engine_input_shape(NULL, shape) == SPARSE_ENGINE_MISUSE && says("`engine` is NULL"));
    CHECK(sparse_engine_load(NULL, 1, 0, 0) == NULL && says("`path`"));
    CHECK(sparse_engine_outputs(NULL) == 0 && says("`engine` is NULL"));
    CHECK(sparse_engine_load(NULL, 1, 0, 0) == NULL && says("`path`"));
    CHECK(sparse_engine_session_new(NULL) == NULL && says("`engine` is NULL"));
    CHECK(sparse_engine_run(NULL, &number, 1, &number) == SPARSE_ENGINE_MISUSE && says("`session` is NULL"));
    sparse_engine_free(NULL);
    sparse_engine_session_free(NULL);
    CHECK(says("`session` is NULL"));
    CHECK(sparse_engine_load("no such file.onnx", 1, 0, 0) == NULL && says("no such file.onnx"));
    CHECK(sparse_engine_load(model, 1, 64, 0) == NULL && says("height and width"));
    CHECK(sparse_engine_load(model, 1, 0, 64) == NULL && says("height and width"));
    CHECK(sparse_engine_load(model, 1, 64, 40) == NULL && !says("height and width"));
    CHECK(sparse_engine_load(model, 1, SIZE_MAX, SIZE_MAX) == NULL && !says("height and width"));
    CHECK(sparse_engine_load(model, SIZE_MAX, 0, 0) == NULL && says("threads"));
}

static void wrong_numbers_are_refused(const sparse_engine *engine) {
    size_t shape[3] = {0, 0, 0}, image, classes = sparse_engine_outputs(engine);
    sparse_engine_session *session = sparse_engine_session_new(engine);
    float *images, *outputs = (float *)malloc((classes + 1) * sizeof *outputs);
    CHECK(session != NULL && outputs != NULL && classes == 5);
    CHECK(sparse_engine_input_shape(engine, NULL) == SPARSE_ENGINE_MISUSE && says("`shape` is NULL"));
    CHECK(sparse_engine_input_shape(engine, shape) == SPARSE_ENGINE_OK);
    CHECK(shape[0] == 3 && shape[1] == 15 && shape[2] == 16);
    image = shape[0] * shape[1] * shape[2];
    images = (float *)calloc(image + 1, sizeof *images);
    CHECK(images != NULL);
    CHECK(sparse_engine_run(session, NULL, 1, outputs) == SPARSE_ENGINE_MISUSE && says("`images` is NULL"));
    CHECK(sparse_engine_run(session, images, 1, NULL) == SPARSE_ENGINE_MISUSE && says("`outputs` is NULL"));
    CHECK(sparse_engine_run(session, images, SIZE_MAX, outputs) == SPARSE_ENGINE_MISUSE && says("memory"));
    CHECK(sparse_engine_run(session, images, SIZE_MAX / 4 / image, outputs) == SPARSE_ENGINE_MISUSE && says("memory"));
    CHECK(sparse_engine_run(session, (const float *)(const void *)((const char *)images + 1), 1, outputs)
              == SPARSE_ENGINE_MISUSE
          && says("`images` is not aligned"));
    CHECK(sparse_engine_run(session, NULL, 0, NULL) == SPARSE_ENGINE_OK);
    outputs[classes] = 7;
    CHECK(sparse_engine_run(session, images, 1, outputs) == SPARSE_ENGINE_OK && outputs[classes] == 7);
    free(outputs);
    free(images);
    sparse_engine_session_free(session);
}

/* A thread with a session of its own on a shared engine. */
struct caller {
    const sparse_engine *engine;
    float outputs[5];
    char error[64];
};

static void *call(void *pointer) {
    struct caller *caller = (struct caller *)pointer;
    static const float images[3 * 15 * 16] = {1, 2, 3};
    sparse_engine_session *session = sparse_engine_session_new(caller->engine);
    int run;
    strncpy(caller->error, sparse_engine_last_error(), sizeof caller->error - 1);
    for (run = 0; run < RUNS; run++) {
        CHECK(sparse_engine_run(session, images, 1, caller->outputs) == SPARSE_ENGINE_OK);
    }
    sparse_engine_session_free(session);
    return NULL;
}

static void threads_share_an_engine(const sparse_engine *engine) {
    struct caller callers[2];
    pthread_t threads[2];
    int i;
    memset(callers, 0, sizeof callers);
    CHECK(sparse_engine_load(NULL, 1, 0, 0) == NULL);
    for (i = 0; i < 2; i++) {
        callers[i].engine = engine;
        CHECK(pthread_create(&threads[i], NULL, call, &callers[i]) == 0);
    }
    for (i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(strcmp(callers[i].error, "") == 0);
    }
    CHECK(says("`path` is NULL"));
    CHECK(memcmp(callers[0].outputs, callers[1].outputs, sizeof callers[0].outputs) == 0);
}

static void a_session_outlives_its_engine(sparse_engine *engine) {
    static const float images[2 * 3 * 15 * 16] = {1, 2, 3};
    float before[10], after[10];
    sparse_engine_session *session = sparse_engine_session_new(engine);
    CHECK(sparse_engine_run(session, images, 2, before) == SPARSE_ENGINE_OK);
    sparse_engine_free(engine);
    CHECK(sparse_engine_run(session, images, 2, after) == SPARSE_ENGINE_OK);
    CHECK(memcmp(before, after, sizeof before) == 0 && before[0] != before[5]);
    sparse_engine_session_free(session);
}

int main(int count, char **arguments) {
    sparse_engine *engine;
    CHECK(count == 2 && strlen(sparse_engine_version()) >= 5);
    nothing_is_refused(arguments[1]);
    engine = sparse_engine_load(arguments[1], 2, 0, 0);
    CHECK(engine != NULL);
    wrong_numbers_are_refused(engine);
    threads_share_an_engine(engine);
    a_session_outlives_its_engine(engine);
    return 0;
}
