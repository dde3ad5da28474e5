# esclusa_fuzz(<name>): tests/fuzz/fuzz_<name>.c and its inputs in tests/fuzz/corpus/<name>/.
# ESCLUSA_FUZZ on (clang, the "fuzz" preset): a libFuzzer binary, run by hand:
#   build/fuzz/tests/fuzz_endpoint -max_total_time=60 NEW_DIR tests/fuzz/corpus/endpoint
# Off: the same source replays its corpus as a test.
option(ESCLUSA_FUZZ "Build the libFuzzer targets (clang)" OFF)

if(ESCLUSA_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "ESCLUSA_FUZZ needs clang: -DCMAKE_C_COMPILER=clang")
  endif()
  set(esclusa_fuzz_sanitizers address,undefined)
  # The library is what is searched: without coverage of it the fuzzer is blind. Whatever links it
  # needs the runtime of that instrumentation.
  foreach(library esclusa_core esclusa_view_parts)
    target_compile_options(${library} PRIVATE -fsanitize=fuzzer-no-link,${esclusa_fuzz_sanitizers}
                                              -fno-sanitize-recover=all)
    target_link_options(${library} INTERFACE
                        -fsanitize=fuzzer-no-link,${esclusa_fuzz_sanitizers})
  endforeach()
endif()

function(esclusa_fuzz name)
  esclusa_fuzz_of(${name} fuzz_${name}.c)
endfunction()

# The same of a source that several targets share; extra arguments are definitions.
function(esclusa_fuzz_of name source)
  set(target fuzz_${name})
  set(corpus ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${name})
  if(ESCLUSA_FUZZ)
    add_executable(${target} fuzz/${source})
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer,${esclusa_fuzz_sanitizers}
                                             -fno-sanitize-recover=all)
    target_link_options(${target} PRIVATE -fsanitize=fuzzer,${esclusa_fuzz_sanitizers})
  else()
    add_executable(${target} fuzz/${source} fuzz/replay.c)
    add_test(NAME fuzz_${name}_corpus COMMAND ${target} ${corpus})
    set_tests_properties(fuzz_${name}_corpus PROPERTIES TIMEOUT 120 LABELS fuzz)
  endif()
  target_compile_definitions(${target} PRIVATE ${ARGN})
  target_link_libraries(${target} PRIVATE esclusa_core)
  if(name MATCHES "^view_") # of the other program, which has no public headers
    target_link_libraries(${target} PRIVATE esclusa_view_parts)
    target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/src)
  endif()
  esclusa_warnings(${target})
endfunction()

esclusa_fuzz(endpoint)
esclusa_fuzz(config)
foreach(protocol http socks5 postgres mysql smtp imap pop3 ldap xmpp ftp)
  string(TOUPPER ${protocol} name)
  esclusa_fuzz_of(dialogue_${protocol} fuzz_dialogue.c FUZZ_PROTOCOL=DIALOGUE_${name})
endforeach()
esclusa_fuzz(proxy_header)
esclusa_fuzz(view_metrics)
