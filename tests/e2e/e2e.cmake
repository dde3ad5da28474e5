# End-to-end tests: the program itself, driven over loopback by real peers. One file a theme.
add_executable(e2e_tls_peer e2e/tls_peer.c)
target_compile_definitions(e2e_tls_peer PRIVATE _GNU_SOURCE)
target_link_libraries(e2e_tls_peer PRIVATE OpenSSL::SSL OpenSSL::Crypto Threads::Threads)
esclusa_warnings(e2e_tls_peer)

add_executable(e2e_hello_flood e2e/hello_flood.c)
target_compile_definitions(e2e_hello_flood PRIVATE _GNU_SOURCE)
target_link_libraries(e2e_hello_flood PRIVATE Threads::Threads)
esclusa_warnings(e2e_hello_flood)

add_library(e2e_recv_nothing MODULE e2e/recv_nothing.c)
target_compile_definitions(e2e_recv_nothing PRIVATE _GNU_SOURCE)
esclusa_warnings(e2e_recv_nothing)

add_executable(e2e_sandbox_probe e2e/sandbox_probe.c)
target_link_libraries(e2e_sandbox_probe PRIVATE esclusa_core)
target_include_directories(e2e_sandbox_probe PRIVATE ${PROJECT_SOURCE_DIR}/src)
esclusa_warnings(e2e_sandbox_probe)

# Throwaway certificates, made anew at each run: none is committed, none expires quietly.
set(e2e_certs ${CMAKE_CURRENT_BINARY_DIR}/certs)
add_test(NAME e2e_certificates_made COMMAND bash ${PROJECT_SOURCE_DIR}/certs/make-certs.sh
                                            ${e2e_certs})
set_tests_properties(e2e_certificates_made PROPERTIES FIXTURES_SETUP certificates LABELS e2e
                                                      TIMEOUT 60)

function(esclusa_e2e_test theme timeout)
  add_test(NAME e2e_${theme} COMMAND ${Python3_EXECUTABLE} -B
                                   ${CMAKE_CURRENT_SOURCE_DIR}/e2e/test_${theme}.py)
  set(environment "ESCLUSA=$<TARGET_FILE:esclusa>" "CERTS=${e2e_certs}"
                  "TLS_PEER=$<TARGET_FILE:e2e_tls_peer>"
                  "HELLO_FLOOD=$<TARGET_FILE:e2e_hello_flood>"
                  "RECV_NOTHING=$<TARGET_FILE:e2e_recv_nothing>"
                  "SANDBOX_PROBE=$<TARGET_FILE:e2e_sandbox_probe>")
  if(NOT ESCLUSA_SANITIZE STREQUAL "")
    list(APPEND environment "SANITIZED=1")
    math(EXPR timeout "3 * ${timeout}")
  endif()
  set_tests_properties(
    e2e_${theme}
    PROPERTIES LABELS e2e TIMEOUT ${timeout} FIXTURES_REQUIRED certificates ENVIRONMENT
               "${environment}")
endfunction()

esclusa_e2e_test(relay_matrix 180)
esclusa_e2e_test(certificates 120)
esclusa_e2e_test(identity 120)
esclusa_e2e_test(negotiate 120)
esclusa_e2e_test(databases 300)
esclusa_e2e_test(starttls 180)
esclusa_e2e_test(proxy 180)
esclusa_e2e_test(verify 180)
esclusa_e2e_test(failures 120)
esclusa_e2e_test(attacks 180)
esclusa_e2e_test(cli 120)
esclusa_e2e_test(signals 120)
esclusa_e2e_test(drain 180)
esclusa_e2e_test(activation 120)
esclusa_e2e_test(upgrade 240)
esclusa_e2e_test(notify 180)
esclusa_e2e_test(units 120)
esclusa_e2e_test(reload 180)
esclusa_e2e_test(watch 240)
esclusa_e2e_test(resumption 240)
esclusa_e2e_test(revoked 180)
esclusa_e2e_test(limits 120)
esclusa_e2e_test(bounds 120)
esclusa_e2e_test(sandbox 120)
esclusa_e2e_test(secrets 120)
esclusa_e2e_test(admin 180)
esclusa_e2e_test(view 180)
esclusa_e2e_test(top 240)
esclusa_e2e_test(warm 240)
esclusa_e2e_test(logs 120)
esclusa_e2e_test(overload 240)
esclusa_e2e_test(loris 300)
esclusa_e2e_test(spin 120)
esclusa_e2e_test(storm 300)
esclusa_e2e_test(balance 60)
esclusa_e2e_test(upstreams 180)
esclusa_e2e_test(idle 60)
esclusa_e2e_test(openssl_peers 120)
esclusa_e2e_test(revocation 240)
esclusa_e2e_test(listener 180)
esclusa_e2e_test(names 240)
esclusa_e2e_test(srv 180)
esclusa_e2e_test(resolv_conf 180)
esclusa_e2e_test(proxy_in 180)
esclusa_e2e_test(proxy_out 180)
esclusa_e2e_test(guard 120)
esclusa_e2e_test(networks 300)
esclusa_e2e_test(hops 180)
esclusa_e2e_test(sockets 120)
esclusa_e2e_test(redis 120)
esclusa_e2e_test(nginx 120)
# It measures CPU time and loads both CPUs: alone.
set_tests_properties(e2e_storm PROPERTIES RUN_SERIAL TRUE)
# Network namespaces: without the right to make them it says that it is skipped.
set_tests_properties(e2e_networks e2e_hops PROPERTIES SKIP_RETURN_CODE 77)
