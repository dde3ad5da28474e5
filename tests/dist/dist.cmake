# What is installed and shipped. LABELS dist: ctest -L dist.
function(esclusa_dist_test theme timeout)
  add_test(NAME dist_${theme} COMMAND ${Python3_EXECUTABLE} -B
                                    ${CMAKE_CURRENT_SOURCE_DIR}/dist/test_${theme}.py)
  set_tests_properties(
    dist_${theme}
    PROPERTIES LABELS dist TIMEOUT ${timeout} SKIP_RETURN_CODE 77 FIXTURES_REQUIRED certificates
               ENVIRONMENT
               "ESCLUSA=$<TARGET_FILE:esclusa>;CERTS=${e2e_certs};BUILD=${PROJECT_BINARY_DIR};CMAKE=${CMAKE_COMMAND}"
  )
endfunction()

esclusa_dist_test(manual 60)
esclusa_dist_test(completion 180)
esclusa_dist_test(kubernetes 60)
esclusa_dist_test(install 60)
# Not with sanitizers, whose libraries are no dependency to have, nor part of an image.
if(ESCLUSA_SANITIZE STREQUAL "")
  esclusa_dist_test(container 120)
  esclusa_dist_test(package 240)
  esclusa_dist_test(service 240)
  # cmake --install writes in the build directory.
  set_tests_properties(dist_install dist_container dist_package dist_service
                       PROPERTIES RESOURCE_LOCK install)
endif()
