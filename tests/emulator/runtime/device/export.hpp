// A kernel as the launcher sees it: a function of pointers to its arguments, and a text that describes its parameters.
#pragma once

namespace cuda_emulator {

// What tests/emulator/arguments.py calls the kind of a type; cuda_fp16.h and cuda_bf16.h add theirs.
template <class T>
struct kind_of {
  static constexpr const char* name = std::is_void_v<T>             ? "void"
                                      : std::is_same_v<T, bool>     ? "b"
                                      : std::is_floating_point_v<T> ? "f"
                                      : std::is_unsigned_v<T>       ? "u"
                                      : std::is_integral_v<T>       ? "i"
                                                                    : "struct";
};

template <class T>
constexpr size_t size_of() {
  if constexpr (std::is_void_v<T>) {
    return 1;
  } else {
    return sizeof(T);
  }
}

// "... [with T = const float*]" without what surrounds the type.
template <class T>
int print_type_name(char* out) {
  const char* start = strstr(__PRETTY_FUNCTION__, "T = ") + 4;
  return sprintf(out, "%.*s", int(strlen(start)) - 1, start);
}

// A line `*|const|kind|size|type`, of the pointer's target where the parameter is a pointer.
template <class Parameter>
void describe_parameter(char*& out) {
  using Target = std::remove_pointer_t<Parameter>;
  using Element = std::remove_cv_t<Target>;
  out += sprintf(out, "%s|", std::is_pointer_v<Parameter> ? "*" : "");
  out += sprintf(out, "%s|", std::is_const_v<Target> ? "const" : "");
  out += sprintf(out, "%s|%zu|", kind_of<Element>::name, size_of<Element>());
  out += print_type_name<Parameter>(out);
  *out++ = '\n';
}

template <auto Function>
struct Kernel;

template <class... Parameters, void (*Function)(Parameters...)>
struct Kernel<Function> {
  template <size_t... I>
  static void call(void** arguments, std::index_sequence<I...>) {
    Function(*static_cast<std::remove_cv_t<std::remove_reference_t<Parameters>>*>(arguments[I])...);
  }

  static void entry(void** arguments) {
    call(arguments, std::index_sequence_for<Parameters...>{});
  }

  static void signature(char* out) {
    (describe_parameter<Parameters>(out), ...);
    *out = 0;
  }
};

}  // namespace cuda_emulator

// The kernel's name comes last: in a name such as f<int, 2> the commas are part of it.
#define CUDA_EMULATOR_EXPORT(ALIAS, ...)                                                         \
  extern "C" __attribute__((visibility("default"))) void emulator_entry_##ALIAS(void** arguments) { \
    cuda_emulator::Kernel<&__VA_ARGS__>::entry(arguments);                                       \
  }                                                                                              \
  extern "C" __attribute__((visibility("default"))) void emulator_signature_##ALIAS(char* out) { \
    cuda_emulator::Kernel<&__VA_ARGS__>::signature(out);                                         \
  }
